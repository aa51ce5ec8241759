// libFuzzer target for the header reader. Built and run by scripts/fuzz.sh.
// Input: one byte of mode, then
//   even  a whole file;
//   odd   8 bytes with the size of the tensor data, then the header's JSON: its length prefix is written here, so that a
//         mutation that lengthens the JSON is not lost on the prefix.
#include <cstdlib>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "core/safetensors.h"

using namespace tilewise::safetensors;

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

uint64_t item_size(const std::string& dtype) {
  if (dtype == "F64" || dtype == "I64" || dtype == "U64") return 8;
  if (dtype == "F32" || dtype == "I32" || dtype == "U32") return 4;
  if (dtype == "F16" || dtype == "BF16" || dtype == "I16" || dtype == "U16") return 2;
  require(dtype == "I8" || dtype == "U8" || dtype == "BOOL");
  return 1;
}

// What a reader relies on without a check of its own.
void check_header(const Header& header, uint64_t file_size) {
  require(header.data_offset >= 8 + 2 && header.data_offset <= file_size);
  uint64_t position = 0;
  std::set<std::string> names;
  for (const Tensor& tensor : header.tensors) {
    require(names.insert(tensor.name).second);
    require(tensor.begin == position && tensor.end >= tensor.begin);
    unsigned __int128 bytes = item_size(tensor.dtype);
    for (const uint64_t dimension : tensor.shape) {
      require(dimension <= kMaxDimension);
      bytes *= dimension;
      require(bytes >> 64 == 0);
    }
    require(bytes == tensor.end - tensor.begin);
    position = tensor.end;
  }
  require(header.data_offset + position == file_size);
  std::set<std::string> keys;
  for (const auto& entry : header.metadata) require(keys.insert(entry.first).second);
}

void run(const std::vector<uint8_t>& bytes, uint64_t file_size) {
  Header header;
  const Result result = parse_header(bytes.data(), bytes.size(), file_size, &header);
  require(result.code != Code::OutOfMemory);
  require(result.ok() == result.message.empty());
  for (const char character : result.message) require(static_cast<uint8_t>(character) >= 0x20);
  if (result.ok()) {
    check_header(header, file_size);
  } else {
    require(header.tensors.empty() && header.metadata.empty());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const bool header_only = *data % 2 != 0;
  ++data, --size;
  if (!header_only) {
    run(std::vector<uint8_t>(data, data + size), size);
    return 0;
  }
  if (size < 8) return 0;
  uint64_t data_size = 0;
  std::memcpy(&data_size, data, 8);
  data_size &= (uint64_t{1} << 53) - 1;
  const uint64_t length = size - 8;
  std::vector<uint8_t> bytes(size);
  std::memcpy(bytes.data(), &length, 8);
  std::memcpy(bytes.data() + 8, data + 8, length);
  run(bytes, size + data_size);
  return 0;
}
