#include "events/event_id.h"

#include <openssl/evp.h>

#include "core/check.h"

namespace millrace {

void IdHasher::Free::operator()(evp_md_ctx_st* context) const { EVP_MD_CTX_free(context); }

IdHasher::IdHasher() : context_(EVP_MD_CTX_new()) {
  // Looked up once: OpenSSL 3 would otherwise search its providers for every id.
  MILLRACE_CHECK(context_ != nullptr);
  MILLRACE_CHECK(EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1);
}
IdHasher::~IdHasher() = default;
IdHasher::IdHasher(IdHasher&&) noexcept = default;
IdHasher& IdHasher::operator=(IdHasher&&) noexcept = default;

void IdHasher::begin(char kind) {
  encoding_.clear();
  encoding_ += kind;
}

void IdHasher::add_text(std::string_view text) {
  for (int shift = 24; shift >= 0; shift -= 8) {
    encoding_ += static_cast<char>(static_cast<std::uint32_t>(text.size()) >> shift);
  }
  encoding_ += text;
}

void IdHasher::add_number(std::int64_t number) {
  for (int shift = 56; shift >= 0; shift -= 8) {
    encoding_ += static_cast<char>(static_cast<std::uint64_t>(number) >> shift);
  }
}

void IdHasher::finish(std::string& out) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  // A null type keeps the algorithm that is set and only begins anew.
  MILLRACE_CHECK(EVP_DigestInit_ex(context_.get(), nullptr, nullptr) == 1);
  MILLRACE_CHECK(EVP_DigestUpdate(context_.get(), encoding_.data(), encoding_.size()) == 1);
  MILLRACE_CHECK(EVP_DigestFinal_ex(context_.get(), digest.data(), nullptr) == 1);
  constexpr std::string_view kDigits = "0123456789abcdef";
  out.resize(32);
  for (std::size_t i = 0; i < 16; ++i) {
    out[2 * i] = kDigits[digest[i] >> 4U];
    out[2 * i + 1] = kDigits[digest[i] & 15U];
  }
}

void IdHasher::event_id(bool anonymous, std::string_view who, std::string_view item,
                        std::int64_t second, std::string_view event_type, std::string& out) {
  begin(anonymous ? 's' : 'u');
  add_text(who);
  add_text(item);
  add_number(second);
  add_text(event_type);
  finish(out);
}

void IdHasher::session_id(std::string_view user, std::int64_t second, std::int64_t slot_seconds,
                          std::string& out) {
  MILLRACE_CHECK(slot_seconds > 0 && second >= 0);
  begin('d');
  add_text(user);
  add_number(second / slot_seconds);
  add_number(slot_seconds);
  finish(out);
}

}  // namespace millrace
