// The header reader against the reference's own tests (names in parentheses), its attack files, and what C++ readers got wrong.
// Built with the address and undefined-behaviour sanitizers by scripts/fuzz.sh, which also takes its seeds from here:
//   safetensors_test            runs the cases
//   safetensors_test --seeds D  writes every case into the folder D, one file each, as inputs for safetensors_fuzz
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "core/safetensors.h"

using namespace tilewise::safetensors;

namespace {

int failures = 0;
int checks = 0;

void check(bool condition, const char* text, const std::string& where, int line) {
  ++checks;
  if (condition) return;
  ++failures;
  std::fprintf(stderr, "safetensors_test.cc:%d: %s: not true: %s\n", line, where.c_str(), text);
}
#define CHECK(where, condition) check((condition), #condition, (where), __LINE__)

std::string length_prefix(uint64_t length) {
  std::string prefix;
  for (int i = 0; i < 8; ++i) prefix += static_cast<char>(length >> (8 * i));
  return prefix;
}

std::string file(const std::string& header, size_t data_bytes) {
  return length_prefix(header.size()) + header + std::string(data_bytes, '\0');
}

std::string tensor(const std::string& name, const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}";
}

std::string one(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return "{" + tensor("test", dtype, shape, offsets) + "}";
}

std::string repeated(const std::string& text, size_t times) {
  std::string all;
  for (size_t i = 0; i < times; ++i) all += text;
  return all;
}

const std::string kValid = one("I32", "[2,2]", "[0,16]");

struct Case {
  const char* name;
  std::string bytes;
  Code code;
};

std::string json_attack(int tensors, const std::string& shape, const std::string& offsets) {
  std::string header = "{";
  for (int i = 0; i < tensors; ++i) header += (i ? "," : "") + tensor("weight_" + std::to_string(i), "F32", shape, offsets);
  return header + "}";
}

std::vector<Case> cases() {
  const std::string i32 = "\"dtype\":\"I32\",\"shape\":[2,2]";
  return {
      {"valid", file(kValid, 16), Code::Ok},
      {"no tensors (test_empty)", file("{}", 0), Code::Ok},
      {"metadata (test_empty)", file(R"({"__metadata__":{"framework":"pt"}})", 0), Code::Ok},
      {"padded to 8 bytes (test_serialization_forced_alignement)", file(kValid + std::string(4, ' '), 16), Code::Ok},
      {"inner white space", file("{ \"test\" :\t{\"dtype\": \"I32\",\r\n\"shape\": [2, 2], \"data_offsets\": [0, 16]} }  ", 16), Code::Ok},
      {"0-rank (test_empty_shapes_allowed)", file(one("I32", "[]", "[0,4]"), 4), Code::Ok},
      {"0-size (test_zero_sized_tensor)", file(one("I32", "[2,0]", "[0, 0]"), 0), Code::Ok},
      {"0-size tensors share an offset with others",
       file("{" + tensor("b", "F32", "[1]", "[4,8]") + "," + tensor("e", "F32", "[0,3]", "[4,4]") + "," +
                tensor("a", "F32", "[1]", "[0,4]") + "," + tensor("f", "F32", "[0]", "[4,4]") + "," + tensor("g", "F32", "[0]", "[8,8]") +
                "}",
            8),
       Code::Ok},
      {"file order differs from offset order",
       file("{" + tensor("b", "U8", "[2]", "[3,5]") + "," + tensor("a", "U8", "[3]", "[0,3]") + "}", 5), Code::Ok},
      {"metadata and a tensor of every size",
       file("{\"__metadata__\":{\"format\":\"pt\",\"step\":\"7\"}," + tensor("a.weight", "F64", "[2,3]", "[0,48]") + "," +
                tensor("a.bias", "F32", "[3]", "[48,60]") + "," + tensor("b", "BF16", "[1,2,1,2]", "[60,68]") + "," +
                tensor("c", "BOOL", "[]", "[68,69]") + "," + tensor("d", "I64", "[0]", "[69,69]") + "}",
            69),
       Code::Ok},
      {"fields in another order", file(R"({"test":{"data_offsets":[0,2],"shape":[1],"dtype":"BF16"}})", 2), Code::Ok},
      {"names outside ASCII", file("{" + tensor("gewicht.größe.重み.\xF0\x9F\x98\x80", "U8", "[1]", "[0,1]") + "}", 1), Code::Ok},
      {"escaped name", file("{" + tensor("a\\u0000\\n\\\"b", "U8", "[1]", "[0,1]") + "}", 1), Code::Ok},
      {"rank 64", file(one("U8", "[1" + repeated(",1", 63) + "]", "[0,1]"), 1), Code::Ok},

      {"empty file (test_header_too_small)", "", Code::HeaderTooSmall},
      {"7 bytes", std::string(7, '\0'), Code::HeaderTooSmall},
      {"test_header_too_large", "<" + std::string(4, '\0') + "\xFF\xFF\xFF" + kValid + std::string(16, '\0'), Code::HeaderTooLarge},
      {"length that wraps with 8 added", length_prefix(~uint64_t{0}) + kValid, Code::HeaderTooLarge},
      {"one over the limit", length_prefix(kMaxHeaderSize + 1) + kValid, Code::HeaderTooLarge},
      {"test_invalid_header_length", length_prefix(60), Code::InvalidHeaderLength},
      {"length 1000 in a small file (safetensors_abuse_attempt_1)", length_prefix(1000) + kValid + std::string(16, '\0'),
       Code::InvalidHeaderLength},
      {"the limit itself in a small file", length_prefix(kMaxHeaderSize) + kValid, Code::InvalidHeaderLength},
      {"one byte short", length_prefix(kValid.size() + 1) + kValid, Code::InvalidHeaderLength},

      {"test_invalid_header_non_utf8", file("\xFF", 0), Code::InvalidHeader},
      {"overlong UTF-8", file("{\"\xC0\xAF\":1}", 0), Code::InvalidHeader},
      {"overlong UTF-8 of 3 bytes", file("{\"\xE0\x80\xAF\":1}", 0), Code::InvalidHeader},
      {"surrogate in UTF-8", file("{\"\xED\xA0\x80\":1}", 0), Code::InvalidHeader},
      {"beyond U+10FFFF", file("{\"\xF4\x90\x80\x80\":1}", 0), Code::InvalidHeader},
      {"cut UTF-8 at the end", file("{\"\xE2\x82", 0), Code::InvalidHeader},
      {"lone continuation byte", file("{\"\x80\":1}", 0), Code::InvalidHeader},

      {"empty header", file("", 0), Code::InvalidHeaderStart},
      {"test_whitespace_leading_padded_header (the format says '{' comes first)", file("\t\n{}\r ", 0), Code::InvalidHeaderStart},
      {"leading space", file(" {}", 0), Code::InvalidHeaderStart},
      {"byte order mark", file("\xEF\xBB\xBF{}", 0), Code::InvalidHeaderStart},
      {"header is a list", file("[]", 0), Code::InvalidHeaderStart},
      {"header is spaces", file("    ", 0), Code::InvalidHeaderStart},
      {"test_whitespace_padded_header: spaces", file("{}    ", 0), Code::Ok},
      {"test_whitespace_padded_header: others (the format says 0x20)", file("{}\r \t\n", 0), Code::InvalidHeaderPadding},
      {"test_invalid_header_not_json", file("{", 0), Code::InvalidHeaderPadding},
      {"NUL after the document", file(std::string("{}\0", 3), 0), Code::InvalidHeaderPadding},
      {"NUL hides the rest", file(std::string("{}\0evil}", 8), 0), Code::InvalidHeaderDeserialization},
      {"two documents", file("{}{}", 0), Code::InvalidHeaderDeserialization},
      {"brace only closes", file("{}}", 0), Code::InvalidHeaderDeserialization},
      {"comment", file("{/**/}", 0), Code::InvalidHeaderDeserialization},
      {"trailing comma", file("{" + tensor("a", "U8", "[0]", "[0,0]") + ",}", 0), Code::InvalidHeaderDeserialization},
      {"unquoted key", file("{a:1}", 0), Code::InvalidHeaderDeserialization},
      {"lone surrogate escape", file("{\"\\ud800\":{}}", 0), Code::InvalidHeaderDeserialization},
      {"control character in a name", file("{\"a\x01\":{}}", 0), Code::InvalidHeaderDeserialization},
      {"number beyond double", file(one("U8", "[1e999]", "[0,1]"), 1), Code::InvalidHeaderDeserialization},

      {"tensor is a number", file(R"({"a":1})", 0), Code::InvalidHeaderDeserialization},
      {"tensor is null", file(R"({"a":null})", 0), Code::InvalidHeaderDeserialization},
      {"tensor is a list", file(R"({"a":[]})", 0), Code::InvalidHeaderDeserialization},
      {"no dtype", file(R"({"a":{"shape":[1],"data_offsets":[0,1]}})", 1), Code::InvalidHeaderDeserialization},
      {"no shape", file(R"({"a":{"dtype":"U8","data_offsets":[0,1]}})", 1), Code::InvalidHeaderDeserialization},
      {"no data_offsets", file(R"({"a":{"dtype":"U8","shape":[1]}})", 1), Code::InvalidHeaderDeserialization},
      {"unknown field", file("{\"test\":{" + i32 + ",\"data_offsets\":[0,16],\"stride\":[2,1]}}", 16), Code::InvalidHeaderDeserialization},
      {"unknown field of a string", file("{\"test\":{\"layout\":\"F32\"," + i32 + ",\"data_offsets\":[0,16]}}", 16),
       Code::InvalidHeaderDeserialization},
      {"nesting in an unknown field", file("{\"a\":{\"x\":" + repeated("[", 100'000) + repeated("]", 100'000) + "}}", 0),
       Code::InvalidHeaderDeserialization},
      {"nested objects", file(repeated("{\"a\":", 100'000) + "1" + repeated("}", 100'000), 0), Code::InvalidHeaderDeserialization},
      {"nested lists in shape", file(one("U8", repeated("[", 100'000) + repeated("]", 100'000), "[0,1]"), 1), Code::InvalidShape},

      {"tensor twice",
       file("{" + tensor("a", "U8", "[1]", "[0,1]") + "," + tensor("b", "U8", "[0]", "[1,1]") + "," + tensor("a", "U8", "[1]", "[1,2]") +
                "}",
            2),
       Code::DuplicateKey},
      {"tensor twice, once escaped", file("{" + tensor("a", "U8", "[1]", "[0,1]") + "," + tensor("\\u0061", "U8", "[1]", "[1,2]") + "}", 2),
       Code::DuplicateKey},
      {"dtype twice", file("{\"test\":{\"dtype\":\"F32\"," + i32 + ",\"data_offsets\":[0,16]}}", 16), Code::DuplicateKey},
      {"shape twice", file("{\"test\":{" + i32 + ",\"shape\":[4],\"data_offsets\":[0,16]}}", 16), Code::DuplicateKey},
      {"data_offsets twice", file("{\"test\":{" + i32 + ",\"data_offsets\":[0,16],\"data_offsets\":[0,16]}}", 16), Code::DuplicateKey},
      {"metadata twice", file(R"({"__metadata__":{},"__metadata__":{}})", 0), Code::DuplicateKey},
      {"metadata entry twice", file(R"({"__metadata__":{"a":"1","b":"2","a":"3"}})", 0), Code::DuplicateKey},

      {"metadata is null", file(R"({"__metadata__":null})", 0), Code::InvalidMetadata},
      {"metadata is a string", file(R"({"__metadata__":"a"})", 0), Code::InvalidMetadata},
      {"metadata is a list", file(R"({"__metadata__":[]})", 0), Code::InvalidMetadata},
      {"metadata holds a number", file(R"({"__metadata__":{"a":1}})", 0), Code::InvalidMetadata},
      {"metadata holds an object", file(R"({"__metadata__":{"a":{}}})", 0), Code::InvalidMetadata},
      {"metadata holds null", file(R"({"__metadata__":{"a":null}})", 0), Code::InvalidMetadata},

      {"unknown dtype", file(one("I33", "[1]", "[0,4]"), 4), Code::UnknownDtype},
      {"dtype in lower case", file(one("f32", "[1]", "[0,4]"), 4), Code::UnknownDtype},
      {"dtype of a number", file(R"({"a":{"dtype":3,"shape":[1],"data_offsets":[0,1]}})", 1), Code::InvalidHeaderDeserialization},
      {"known dtype without support", file(one("F8_E4M3", "[4]", "[0,4]"), 4), Code::UnsupportedDtype},
      {"test_serialization_fp4", file(one("F4", "[1,2,2]", "[0,2]"), 2), Code::UnsupportedDtype},
      {"test_serialization_fp4_misaligned", file(one("F4", "[1,3]", "[0,2]"), 2), Code::MisalignedSlice},
      {"test_serialization_fp4_invalid", file(one("F4", "[1,2,2]", "[0,1]"), 1), Code::TensorInvalidInfo},

      {"float in shape", file(one("U8", "[1.0]", "[0,1]"), 1), Code::InvalidShape},
      {"exponent in shape", file(one("U8", "[1e0]", "[0,1]"), 1), Code::InvalidShape},
      {"negative shape", file(one("U8", "[-1]", "[0,1]"), 1), Code::InvalidShape},
      {"negative zero in shape", file(one("U8", "[-0]", "[0,0]"), 0), Code::InvalidShape},
      {"string in shape", file(one("U8", "[\"1\"]", "[0,1]"), 1), Code::InvalidShape},
      {"boolean in shape", file(one("U8", "[true]", "[0,1]"), 1), Code::InvalidShape},
      {"shape is a number", file(one("U8", "1", "[0,1]"), 1), Code::InvalidShape},
      {"shape entry beyond 64 bits", file(one("U8", "[18446744073709551616]", "[0,1]"), 1), Code::InvalidShape},
      {"rank 65", file(one("U8", "[1" + repeated(",1", 64) + "]", "[0,1]"), 1), Code::InvalidShape},
      {"shape entry of 2^53", file(one("U8", "[9007199254740992,0]", "[0,0]"), 0), Code::Ok},
      {"shape entry over 2^53", file(one("U8", "[9007199254740993]", "[0,1]"), 1), Code::ValidationOverflow},
      {"test_validation_overflow, of the shape", file(one("I32", "[2,18446744073709551614]", "[0,16]"), 16), Code::ValidationOverflow},
      {"test_validation_overflow, of the bytes", file(one("I32", "[2,9223372036854775807]", "[0,16]"), 16), Code::ValidationOverflow},
      {"product of 4 modulo 2^64", file(one("F32", "[4194305,4194305,211106198978564]", "[0,16]"), 16), Code::ValidationOverflow},
      {"product of bits overflows, of bytes does not", file(one("U8", "[2147483648,2147483648]", "[0,0]"), 0), Code::ValidationOverflow},
      {"overflow beside a 0", file(one("U8", "[0,9007199254740992,9007199254740992]", "[0,0]"), 0), Code::ValidationOverflow},

      {"test_json_attack", file(json_attack(10, "[2,2]", "[0,16]"), 16), Code::InvalidOffset},
      {"safetensors_abuse_attempt_3", file(json_attack(100'000, "[200,200]", "[0,160000]"), 160'000), Code::InvalidOffset},
      {"negative offset", file(one("U8", "[1]", "[-1,0]"), 1), Code::InvalidOffset},
      {"negative end", file(one("U8", "[1]", "[0,-1]"), 1), Code::InvalidOffset},
      {"float offset", file(one("U8", "[1]", "[0,1.0]"), 1), Code::InvalidOffset},
      {"one offset", file(one("U8", "[1]", "[0]"), 1), Code::InvalidOffset},
      {"three offsets", file(one("U8", "[1]", "[0,1,2]"), 1), Code::InvalidOffset},
      {"offsets are a string", file(one("U8", "[1]", "\"0,1\""), 1), Code::InvalidOffset},
      {"end before begin", file("{" + tensor("a", "U8", "[1]", "[0,1]") + "," + tensor("b", "U8", "[1]", "[1,0]") + "}", 1),
       Code::InvalidOffset},
      {"hole at the start", file(one("U8", "[1]", "[1,2]"), 2), Code::InvalidOffset},
      {"hole between", file("{" + tensor("a", "U8", "[1]", "[0,1]") + "," + tensor("b", "U8", "[1]", "[2,3]") + "}", 3),
       Code::InvalidOffset},
      {"overlap", file("{" + tensor("a", "U8", "[2]", "[0,2]") + "," + tensor("b", "U8", "[2]", "[1,3]") + "}", 3), Code::InvalidOffset},
      {"offsets at the end of 64 bits", file(one("U8", "[1]", "[18446744073709551614,18446744073709551615]"), 1), Code::InvalidOffset},
      {"test_invalid_info", file(one("I32", "[2,2]", "[0, 4]"), 4), Code::TensorInvalidInfo},
      {"span beyond the file", file(one("I32", "[2,2]", "[0,18446744073709551615]"), 16), Code::TensorInvalidInfo},
      {"bytes for an empty tensor", file(one("I32", "[0]", "[0,4]"), 4), Code::TensorInvalidInfo},
      {"trailing bytes of another format (test_metadata_incomplete_buffer)", file(kValid, 16) + "extra_bogus_data_for_polyglot_file",
       Code::MetadataIncompleteBuffer},
      {"2 bytes missing (test_metadata_incomplete_buffer)", file(kValid, 14), Code::MetadataIncompleteBuffer},
      {"bytes without tensors", file("{}", 1), Code::MetadataIncompleteBuffer},
  };
}

Result parse(const std::string& bytes, Header* header) {
  // A copy of exactly this size: one byte read beyond it is an error under the address sanitizer.
  const std::vector<uint8_t> copy(bytes.begin(), bytes.end());
  return parse_header(copy.data(), copy.size(), copy.size(), header);
}

void test_cases() {
  for (const Case& item : cases()) {
    Header header;
    header.data_offset = 77;
    const Result result = parse(item.bytes, &header);
    if (result.code != item.code)
      std::fprintf(stderr, "%s: expected %s, got %s: %s\n", item.name, code_name(item.code), code_name(result.code),
                   result.message.c_str());
    CHECK(item.name, result.code == item.code);
    CHECK(item.name, result.message.empty() == result.ok());
    CHECK(item.name, result.message.find('\n') == std::string::npos);
    CHECK(item.name, result.ok() || (header.data_offset == 77 && header.tensors.empty()));
  }
}

void test_every_truncation() {
  const std::string bytes = file(kValid, 16);
  for (size_t size = 0; size < bytes.size(); ++size) {
    Header header;
    CHECK("cut to " + std::to_string(size), !parse(bytes.substr(0, size), &header).ok());
  }
}

void test_every_flipped_bit() {
  const std::string bytes = file(kValid, 16);
  for (size_t i = 0; i < (8 + kValid.size()) * 8; ++i) {
    std::string flipped = bytes;
    flipped[i / 8] = static_cast<char>(flipped[i / 8] ^ (1 << (i % 8)));
    Header header;
    const Result result = parse(flipped, &header);
    // Another name, or another 4-byte dtype: all that one bit can change and leave a valid file.
    const bool harmless =
        result.ok() && header.tensors.size() == 1 && header.tensors[0].end == 16 && header.tensors[0].shape == std::vector<uint64_t>{2, 2};
    CHECK("bit " + std::to_string(i), !result.ok() || harmless);
  }
}

void test_contents() {
  Header header;
  const std::string text =
      R"({"__metadata__":{"format":"pt","":"x"},"b":{"dtype":"BF16","shape":[3],"data_offsets":[8,14]},)"
      R"("a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"z\u0000":{"dtype":"F64","shape":[0],"data_offsets":[8,8]}})";
  CHECK("contents", parse(file(text, 14), &header).ok());
  CHECK("contents", header.data_offset == 8 + text.size());
  CHECK("contents", header.metadata.size() == 2 && header.metadata[0].first == "format" && header.metadata[0].second == "pt");
  CHECK("contents", header.tensors.size() == 3);
  if (header.tensors.size() != 3) return;
  CHECK("contents", header.tensors[0].name == "a" && header.tensors[0].shape == (std::vector<uint64_t>{1, 2}));
  CHECK("contents", header.tensors[1].name == std::string("z\0", 2) && header.tensors[1].begin == 8 && header.tensors[1].end == 8);
  CHECK("contents", header.tensors[2].name == "b" && std::strcmp(header.tensors[2].dtype, "BF16") == 0 && header.tensors[2].end == 14);
}

void test_header_alone() {
  Header header;
  const std::string bytes = file(kValid, 0);
  const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
  CHECK("header alone", parse_header(data, bytes.size(), bytes.size() + 16, &header).ok());
  CHECK("header cut by the caller", parse_header(data, bytes.size() - 1, bytes.size() + 16, &header).code == Code::InvalidHeaderLength);
  CHECK("more bytes than the file has", parse_header(data, bytes.size(), bytes.size() - 1, &header).code == Code::InvalidHeaderLength);
  CHECK("no bytes", parse_header(nullptr, 0, 1000, &header).code == Code::HeaderTooSmall);
}

void test_messages() {
  Header header;
  const Result escaped = parse(file("{" + tensor("a\\n\\u001b[2J\\\"", "U8", "[2]", "[0,1]") + "}", 1), &header);
  CHECK("control characters", escaped.message.find("\"a\\x0a\\x1b[2J\\\"\"") != std::string::npos);
  CHECK("control characters", escaped.tensor == "a\n\x1b[2J\"");
  const Result cut = parse(file("{" + tensor("x" + repeated("é", 100'000), "U8", "[2]", "[0,1]") + "}", 1), &header);
  CHECK("long name", cut.message.size() < 400);
  CHECK("long name is cut between characters", cut.message.find("é…\"") != std::string::npos);
  const Result info = parse(file(one("I32", "[2,2]", "[0,4]"), 4), &header);
  CHECK("message", info.message == "tensor \"test\": data_offsets [0, 4] must span 16 bytes for shape [2, 2] of I32");
}

void test_many_tensors() {
  std::string text = "{";
  constexpr int kCount = 300'000;
  for (int i = 0; i < kCount; ++i)
    text += (i ? "," : "") + tensor("t" + std::to_string(i), "U8", "[]", "[" + std::to_string(i) + "," + std::to_string(i + 1) + "]");
  Header header;
  CHECK("many tensors", parse(file(text + "}", kCount), &header).ok());
  CHECK("many tensors", header.tensors.size() == kCount);
}

// The fuzzer's input: mode 0 and a file, or mode 1, the size of the data, and a header. See safetensors_fuzz.cc.
int write_seeds(const std::string& folder) {
  int index = 0;
  for (const Case& item : cases()) {
    if (item.bytes.size() > 4096) continue;
    const std::string base = folder + "/" + std::to_string(index++);
    std::ofstream(base + "-file", std::ios::binary) << '\0' << item.bytes;
    if (item.bytes.size() < 8) continue;
    const size_t end = item.bytes.rfind('}') + 1;
    if (end > 8)
      std::ofstream(base + "-header", std::ios::binary) << '\1' << length_prefix(item.bytes.size() - end) << item.bytes.substr(8, end - 8);
  }
  return index > 0 && std::ifstream(folder + "/0-file").good() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3 && std::strcmp(argv[1], "--seeds") == 0) return write_seeds(argv[2]);
  test_cases();
  test_every_truncation();
  test_every_flipped_bit();
  test_contents();
  test_header_alone();
  test_messages();
  test_many_tensors();
  std::printf("safetensors_test: %d checks, %d failed\n", checks, failures);
  return failures == 0 ? 0 : 1;
}
