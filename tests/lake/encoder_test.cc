#include "lake/encoder.h"

#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

namespace millrace {
namespace {

/// What zlib makes of one gzip member; empty with a failure when it is not one.
std::string inflated(std::string_view member, std::size_t& used) {
  z_stream stream{};
  EXPECT_EQ(inflateInit2(&stream, 15 + 16), Z_OK);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(member.data()));
  stream.avail_in = static_cast<uInt>(member.size());
  std::string out(8u << 20, '\0');
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(inflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  used = stream.total_in;
  inflateEnd(&stream);
  return out;
}

std::string lines(std::size_t count) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i) {
    text += "{\"user_id\":\"u" + std::to_string(i * 7919 % 10007) + "\",\"item_id\":\"i" +
            std::to_string(i * 31 % 997) + "\",\"timestamp\":" + std::to_string(1700000000 + i) +
            "}\n";
  }
  return text;
}

TEST(Encoder, EveryGzipChunkIsAMemberWithoutNameOrTime) {
  Encoder encoder(Compression::gzip);
  std::string out;
  const std::string first = lines(40000);
  encoder.encode(first, out);
  const std::size_t border = out.size();
  encoder.encode("{}\n", out);
  EXPECT_LT(border, first.size() / 3);
  EXPECT_EQ(out.substr(0, 10), std::string("\x1f\x8b\x08\0\0\0\0\0\0\xff", 10));
  EXPECT_EQ(out.substr(border, 10), out.substr(0, 10));
  std::size_t used = 0;
  EXPECT_EQ(inflated(out, used), first);
  EXPECT_EQ(used, border);
  EXPECT_EQ(inflated(std::string_view(out).substr(border), used), "{}\n");
}

TEST(Encoder, EveryZstdChunkIsAFrame) {
  Encoder encoder(Compression::zstd);
  std::string out;
  const std::string text = lines(1000);
  encoder.encode(text, out);
  EXPECT_EQ(ZSTD_findFrameCompressedSize(out.data(), out.size()), out.size());
  std::string back(text.size(), '\0');
  EXPECT_EQ(ZSTD_decompress(back.data(), back.size(), out.data(), out.size()), text.size());
  EXPECT_EQ(back, text);
}

TEST(Encoder, TheSameChunkGivesTheSameBytesWhateverCameBefore) {
  for (const Compression compression : {Compression::none, Compression::gzip, Compression::zstd}) {
    Encoder used(compression);
    std::string before;
    used.encode(lines(5000), before);
    std::string again;
    used.encode(lines(300), again);
    Encoder fresh(compression);
    std::string once;
    fresh.encode(lines(300), once);
    EXPECT_EQ(again, once);
  }
}

TEST(Encoder, NothingIsNothing) {
  for (const Compression compression : {Compression::none, Compression::gzip, Compression::zstd}) {
    std::string out = "x";
    Encoder(compression).encode("", out);
    EXPECT_EQ(out, "x");
  }
}

}  // namespace
}  // namespace millrace
