#pragma once
// The header of a safetensors file, checked so that whoever reads the tensors needs no further check.
// Layout: u64 little-endian n | n bytes of JSON | tensor bytes. https://github.com/huggingface/safetensors#format
//
// Stricter than the Rust reference where its README is: the header starts with '{', is padded by trailing spaces only,
// names no key twice and holds no field but dtype, shape and data_offsets.

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace tilewise::safetensors {

constexpr uint64_t kMaxHeaderSize = 100'000'000;
constexpr uint64_t kMaxDimension = uint64_t{1} << 53;  // Shapes are JavaScript numbers above this layer.
constexpr size_t kMaxRank = 64;                        // PyTorch's and NumPy's own limit.

/// Named after the reference's `SafeTensorError` where it has the case.
enum class Code {
  Ok,
  HeaderTooSmall,
  HeaderTooLarge,
  InvalidHeaderLength,
  InvalidHeader,  // not UTF-8
  InvalidHeaderStart,
  InvalidHeaderPadding,
  InvalidHeaderDeserialization,  // not JSON, or not the JSON that a header is
  DuplicateKey,
  InvalidMetadata,
  UnknownDtype,
  UnsupportedDtype,
  InvalidShape,
  InvalidOffset,
  ValidationOverflow,
  MisalignedSlice,
  TensorInvalidInfo,
  MetadataIncompleteBuffer,
  OutOfMemory,
};

const char* code_name(Code code);

struct Result {
  Code code = Code::Ok;
  std::string message;  // One line; text that comes out of the file is escaped and cut.
  std::string tensor;   // The tensor at fault, as the file spells it; empty where none is.
  bool ok() const { return code == Code::Ok; }
};

struct Tensor {
  std::string name;
  const char* dtype = nullptr;  // Static storage: "F32", "BF16", …
  std::vector<uint64_t> shape;
  uint64_t begin = 0, end = 0;  // Bytes, counted from Header::data_offset.
};

struct Header {
  std::vector<Tensor> tensors;  // By begin, then end, then name: contiguous from 0 to the end of the file.
  std::vector<std::pair<std::string, std::string>> metadata;
  uint64_t data_offset = 0;  // 8 + header length: where the tensor bytes start in the file.
};

/// Parses and checks the header of a file of `file_size` bytes whose first `size` bytes are at `bytes` (at least the
/// 8 bytes of the length and the whole header; the tensor bytes need not be there). `*out` is written on success only.
/// Throws nothing. Memory and time are O(n log n) in the header's length, whatever it says.
Result parse_header(const uint8_t* bytes, size_t size, uint64_t file_size, Header* out) noexcept;

}  // namespace tilewise::safetensors
