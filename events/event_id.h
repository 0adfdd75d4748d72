// Ids we derive where the producer gave none: the same event gets the same id at every retry,
// replay and backfill, on every machine.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

struct evp_md_ctx_st;  // OpenSSL's EVP_MD_CTX

namespace millrace {

/// Writes ids of 32 lower-case hexadecimal digits: the first 128 bits of SHA-256 (FIPS 180-4) over
///
///   event id     kind, text(who), text(item), i64(second), text(event type)
///   session id   'd', text(user), i64(floor(second / slot seconds)), i64(slot seconds)
///
/// kind is one byte, 'u' when `who` is a user and 's' when it is the session of an anonymous event;
/// text(x) is the number of bytes of x as 32 bits and then the bytes; all numbers are big-endian.
/// The bytes are a promise (docs/formats.md): changing them would double every event in a lake.
/// Not thread-safe: one per thread. Movable.
class IdHasher {
 public:
  IdHasher();
  ~IdHasher();
  IdHasher(IdHasher&&) noexcept;
  IdHasher& operator=(IdHasher&&) noexcept;

  /// Replaces `out` (its capacity is reused).
  void event_id(bool anonymous, std::string_view who, std::string_view item, std::int64_t second,
                std::string_view event_type, std::string& out);

  /// A session for an event that has no usable one: one per user and slot of time.
  /// REQUIRES: slot_seconds > 0, second >= 0.
  void session_id(std::string_view user, std::int64_t second, std::int64_t slot_seconds,
                  std::string& out);

 private:
  void begin(char kind);
  void add_text(std::string_view text);
  void add_number(std::int64_t number);
  void finish(std::string& out);

  struct Free {
    void operator()(evp_md_ctx_st* context) const;
  };
  std::unique_ptr<evp_md_ctx_st, Free> context_;
  std::string encoding_{};  // the bytes to hash, reused
};

}  // namespace millrace
