#include "core/safetensors.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <nlohmann/json.hpp>
#include <tuple>

namespace tilewise::safetensors {
namespace {

struct Dtype {
  const char* name;
  uint64_t bits;
  bool supported;
};

constexpr Dtype kDtypes[] = {
    {"F64", 64, true},     {"F32", 32, true},     {"F16", 16, true},         {"BF16", 16, true},        {"I64", 64, true},
    {"I32", 32, true},     {"I16", 16, true},     {"I8", 8, true},           {"U64", 64, true},         {"U32", 32, true},
    {"U16", 16, true},     {"U8", 8, true},       {"BOOL", 8, true},         {"C64", 64, false},        {"F8_E4M3", 8, false},
    {"F8_E5M2", 8, false}, {"F8_E8M0", 8, false}, {"F8_E4M3FNUZ", 8, false}, {"F8_E5M2FNUZ", 8, false}, {"F6_E2M3", 6, false},
    {"F6_E3M2", 6, false}, {"F4", 4, false},
};

const Dtype* find_dtype(const std::string& name) {
  for (const Dtype& dtype : kDtypes)
    if (name == dtype.name) return &dtype;
  return nullptr;
}

// A name out of the file, fit for one line of a log: control characters escaped, at most 96 bytes, cut between characters.
std::string quote(const std::string& text) {
  constexpr size_t kLimit = 96;
  size_t length = std::min(text.size(), kLimit);
  while (length < text.size() && length > 0 && (static_cast<uint8_t>(text[length]) & 0xC0) == 0x80) --length;
  std::string quoted = "\"";
  for (size_t i = 0; i < length; ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    if (byte < 0x20 || byte == 0x7F) {
      constexpr char kHex[] = "0123456789abcdef";
      quoted += {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
    } else {
      if (byte == '"' || byte == '\\') quoted += '\\';
      quoted += text[i];
    }
  }
  return quoted + (length < text.size() ? "…\"" : "\"");
}

Result fail(Code code, std::string message) { return {code, std::move(message), {}}; }
Result fail(Code code, const std::string& tensor, const std::string& message) {
  return {code, "tensor " + quote(tensor) + ": " + message, tensor};
}

std::string number(uint64_t value) { return std::to_string(value); }

std::string describe(const std::vector<uint64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + number(shape[i]);
  return text + "]";
}

// The position of the first byte that is not UTF-8 (RFC 3629: no overlong forms, no surrogates), or `size`.
size_t valid_utf8(const uint8_t* bytes, size_t size) {
  size_t i = 0;
  while (i < size) {
    const uint8_t lead = bytes[i];
    if (lead < 0x80) {
      ++i;
      continue;
    }
    const size_t extra = lead >= 0xC2 && lead <= 0xDF ? 1 : (lead & 0xF0) == 0xE0 ? 2 : lead >= 0xF0 && lead <= 0xF4 ? 3 : 0;
    if (extra == 0 || size - i <= extra) return i;
    const uint8_t low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    const uint8_t high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (bytes[i + 1] < low || bytes[i + 1] > high) return i;
    for (size_t k = 2; k <= extra; ++k)
      if ((bytes[i + k] & 0xC0) != 0x80) return i;
    i += extra + 1;
  }
  return size;
}

struct Entry {
  Tensor tensor;
  uint64_t bits = 0;
  bool supported = false;
};

// A state machine over the events of the JSON reader. It refuses whatever a header may not hold as soon as it comes, so
// nothing deeper than {tensor: {shape: [...]}} is ever entered and no document is built.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  std::vector<Entry> entries;
  std::vector<std::pair<std::string, std::string>> metadata;
  Result result;

  bool null() override { return unexpected("null"); }
  bool boolean(bool) override { return unexpected("a boolean"); }
  bool number_integer(number_integer_t) override { return unexpected("a negative number"); }  // Unsigned ones come as such.
  bool number_float(number_float_t, const string_t& text) override { return unexpected("the number " + quote(text)); }
  bool binary(binary_t&) override { return unexpected("binary data"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (state_ == State::Shape) {
      auto& shape = entries.back().tensor.shape;
      if (value > kMaxDimension) return refuse(Code::ValidationOverflow, "shape entry " + number(value) + " is over 2^53");
      if (shape.size() == kMaxRank) return refuse(Code::InvalidShape, "shape has more than " + number(kMaxRank) + " dimensions");
      shape.push_back(value);
      return true;
    }
    if (state_ == State::Offsets) {
      if (offsets_ == 2) return refuse(Code::InvalidOffset, "data_offsets must be [begin, end], has more entries");
      (offsets_++ == 0 ? entries.back().tensor.begin : entries.back().tensor.end) = value;
      return true;
    }
    return unexpected("a number");
  }

  bool string(string_t& value) override {
    if (state_ == State::MetadataValue) {
      metadata.back().second = std::move(value);
      state_ = State::Metadata;
      return true;
    }
    if (state_ != State::Dtype) return unexpected("a string");
    const Dtype* dtype = find_dtype(value);
    if (!dtype) return refuse(Code::UnknownDtype, "dtype " + quote(value) + " is not one of the format's");
    Entry& entry = entries.back();
    entry.tensor.dtype = dtype->name;
    entry.bits = dtype->bits;
    entry.supported = dtype->supported;
    state_ = State::Tensor;
    return true;
  }

  bool start_object(size_t) override {
    if (state_ == State::Start) return enter(State::Root);
    if (state_ == State::MetadataStart) return enter(State::Metadata);
    if (state_ != State::TensorStart) return unexpected("an object");
    fields_ = 0;
    return enter(State::Tensor);
  }

  bool end_object() override {
    if (state_ == State::Tensor && fields_ != (kDtype | kShape | kOffsets)) {
      const char* missing = !(fields_ & kDtype) ? "dtype" : !(fields_ & kShape) ? "shape" : "data_offsets";
      return refuse(Code::InvalidHeaderDeserialization, std::string(missing) + " is missing");
    }
    return enter(state_ == State::Root ? State::End : State::Root);
  }

  bool start_array(size_t) override {
    if (state_ == State::ShapeStart) return enter(State::Shape);
    if (state_ != State::OffsetsStart) return unexpected("an array");
    offsets_ = 0;
    return enter(State::Offsets);
  }

  bool end_array() override {
    if (state_ == State::Offsets && offsets_ != 2)
      return refuse(Code::InvalidOffset, "data_offsets must be [begin, end], has " + number(offsets_) + " entries");
    return enter(State::Tensor);
  }

  bool key(string_t& key) override {
    if (state_ == State::Metadata) {
      metadata.emplace_back(std::move(key), std::string());
      return enter(State::MetadataValue);
    }
    if (state_ == State::Root) {
      if (key == "__metadata__") {
        if (has_metadata_) return refuse(Code::DuplicateKey, "__metadata__ is there twice");
        has_metadata_ = true;
        return enter(State::MetadataStart);
      }
      entries.emplace_back();
      entries.back().tensor.name = std::move(key);
      return enter(State::TensorStart);
    }
    const unsigned field = key == "dtype" ? kDtype : key == "shape" ? kShape : key == "data_offsets" ? kOffsets : 0;
    if (!field) return refuse(Code::InvalidHeaderDeserialization, "unknown field " + quote(key));
    if (fields_ & field) return refuse(Code::DuplicateKey, key + " is there twice");
    fields_ |= field;
    return enter(field == kDtype ? State::Dtype : field == kShape ? State::ShapeStart : State::OffsetsStart);
  }

  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception&) override {
    result = fail(Code::InvalidHeaderDeserialization, "header is not JSON at byte " + number(8 + position));
    return false;
  }

 private:
  enum class State {
    Start,
    Root,
    MetadataStart,
    Metadata,
    MetadataValue,
    TensorStart,
    Tensor,
    Dtype,
    ShapeStart,
    Shape,
    OffsetsStart,
    Offsets,
    End
  };
  static constexpr unsigned kDtype = 1, kShape = 2, kOffsets = 4;  // Bits of fields_.

  bool enter(State state) {
    state_ = state;
    return true;
  }

  bool refuse(Code code, const std::string& message) {
    const bool in_tensor = state_ >= State::TensorStart && state_ != State::End;
    result = in_tensor ? fail(code, entries.back().tensor.name, message) : fail(code, message);
    return false;
  }

  bool unexpected(const std::string& got) {
    switch (state_) {
      case State::MetadataStart:
        return refuse(Code::InvalidMetadata, "__metadata__ must be an object of strings, is " + got);
      case State::MetadataValue:
        return refuse(Code::InvalidMetadata, "__metadata__ entry " + quote(metadata.back().first) + " must be a string, is " + got);
      case State::TensorStart:
        return refuse(Code::InvalidHeaderDeserialization, "must be an object, is " + got);
      case State::Dtype:
        return refuse(Code::InvalidHeaderDeserialization, "dtype must be a string, is " + got);
      case State::ShapeStart:
        return refuse(Code::InvalidShape, "shape must be an array of non-negative integers, is " + got);
      case State::Shape:
        return refuse(Code::InvalidShape, "shape must hold non-negative integers, holds " + got);
      case State::OffsetsStart:
        return refuse(Code::InvalidOffset, "data_offsets must be [begin, end], is " + got);
      case State::Offsets:
        return refuse(Code::InvalidOffset, "data_offsets must hold non-negative integers, holds " + got);
      default:
        return refuse(Code::InvalidHeaderDeserialization, "header must be an object, is " + got);
    }
  }

  State state_ = State::Start;
  unsigned fields_ = 0;
  unsigned offsets_ = 0;
  bool has_metadata_ = false;
};

// Sorting, not hashing: a header can be made of names that collide in an unseeded hash.
template <typename Items, typename Name>
const std::string* find_duplicate(const Items& items, Name name) {
  std::vector<const std::string*> names;
  names.reserve(items.size());
  for (const auto& item : items) names.push_back(&name(item));
  std::sort(names.begin(), names.end(), [](auto* a, auto* b) { return *a < *b; });
  const auto twice = std::adjacent_find(names.begin(), names.end(), [](auto* a, auto* b) { return *a == *b; });
  return twice == names.end() ? nullptr : *twice;
}

// The size of a tensor in bits. Dimensions of 0 do not excuse the others: strides are products of them too.
bool checked_bits(const std::vector<uint64_t>& shape, uint64_t bits, uint64_t* out) {
  bool empty = false;
  for (const uint64_t dimension : shape) {
    if (dimension == 0) {
      empty = true;
    } else if (__builtin_mul_overflow(bits, dimension, &bits)) {
      return false;
    }
  }
  *out = empty ? 0 : bits;
  return true;
}

// Every byte of the file's data belongs to exactly one tensor, and each tensor has as many as its shape says.
Result validate(std::vector<Entry>& entries, uint64_t data_size) {
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    const Tensor &x = a.tensor, &y = b.tensor;
    return std::tie(x.begin, x.end, x.name) < std::tie(y.begin, y.end, y.name);
  });
  uint64_t previous = 0;
  for (const Entry& entry : entries) {
    const Tensor& tensor = entry.tensor;
    const auto offsets = [&] { return "data_offsets [" + number(tensor.begin) + ", " + number(tensor.end) + "]"; };
    if (tensor.begin != previous || tensor.end < tensor.begin)
      return fail(Code::InvalidOffset, tensor.name, offsets() + " must follow the tensor before it, which ends at " + number(previous));
    previous = tensor.end;
    uint64_t bits = 0;
    if (!checked_bits(tensor.shape, entry.bits, &bits))
      return fail(Code::ValidationOverflow, tensor.name, "shape " + describe(tensor.shape) + " overflows 64 bits");
    if (bits % 8 != 0)
      return fail(Code::MisalignedSlice, tensor.name, "shape " + describe(tensor.shape) + " of " + tensor.dtype + " ends inside a byte");
    if (tensor.end - tensor.begin != bits / 8)
      return fail(Code::TensorInvalidInfo, tensor.name,
                  offsets() + " must span " + number(bits / 8) + " bytes for shape " + describe(tensor.shape) + " of " + tensor.dtype);
    if (!entry.supported) return fail(Code::UnsupportedDtype, tensor.name, std::string("dtype ") + tensor.dtype + " is not supported");
  }
  if (previous != data_size)
    return fail(Code::MetadataIncompleteBuffer,
                "tensors cover " + number(previous) + " bytes, the file holds " + number(data_size) + " after its header");
  return {};
}

Result parse(const uint8_t* bytes, size_t size, uint64_t file_size, Header* out) {
  constexpr uint64_t kPrefix = 8;
  if (file_size < kPrefix || size < kPrefix)
    return fail(Code::HeaderTooSmall, "file of " + number(std::min<uint64_t>(file_size, size)) + " bytes has no header length");
  uint64_t length = 0;
  for (unsigned i = 0; i < kPrefix; ++i) length |= uint64_t{bytes[i]} << (8 * i);
  if (length > kMaxHeaderSize)
    return fail(Code::HeaderTooLarge, "header of " + number(length) + " bytes is over the limit of " + number(kMaxHeaderSize));
  const uint64_t available = std::min<uint64_t>(file_size, size) - kPrefix;
  if (length > available)
    return fail(Code::InvalidHeaderLength, "header of " + number(length) + " bytes, but only " + number(available) + " follow its length");

  const uint8_t* header = bytes + kPrefix;
  if (const size_t valid = valid_utf8(header, length); valid != length)
    return fail(Code::InvalidHeader, "header is not UTF-8 at byte " + number(kPrefix + valid));
  if (length == 0 || header[0] != '{') return fail(Code::InvalidHeaderStart, "header must start with '{'");
  size_t trimmed = length;
  while (header[trimmed - 1] == ' ') --trimmed;
  // Also where the JSON reader would take a NUL for the end of its input and leave the rest unread.
  if (header[trimmed - 1] != '}') return fail(Code::InvalidHeaderPadding, "header must end with '}' and spaces");
  if (const void* nul = std::memchr(header, 0, trimmed))
    return fail(Code::InvalidHeaderDeserialization,
                "header is not JSON at byte " + number(kPrefix + static_cast<uint64_t>(static_cast<const uint8_t*>(nul) - header)));

  HeaderReader reader;
  if (!nlohmann::json::sax_parse(header, header + trimmed, &reader)) return reader.result;
  if (const std::string* name = find_duplicate(reader.entries, [](const Entry& entry) -> const std::string& { return entry.tensor.name; }))
    return fail(Code::DuplicateKey, *name, "is there twice");
  if (const std::string* key = find_duplicate(reader.metadata, [](const auto& pair) -> const std::string& { return pair.first; }))
    return fail(Code::DuplicateKey, "__metadata__ entry " + quote(*key) + " is there twice");
  if (Result result = validate(reader.entries, file_size - kPrefix - length); !result.ok()) return result;

  Header parsed;
  parsed.tensors.reserve(reader.entries.size());
  for (Entry& entry : reader.entries) parsed.tensors.push_back(std::move(entry.tensor));
  parsed.metadata = std::move(reader.metadata);
  parsed.data_offset = kPrefix + length;
  *out = std::move(parsed);
  return {};
}

}  // namespace

const char* code_name(Code code) {
  switch (code) {
    case Code::Ok:
      return "Ok";
    case Code::HeaderTooSmall:
      return "HeaderTooSmall";
    case Code::HeaderTooLarge:
      return "HeaderTooLarge";
    case Code::InvalidHeaderLength:
      return "InvalidHeaderLength";
    case Code::InvalidHeader:
      return "InvalidHeader";
    case Code::InvalidHeaderStart:
      return "InvalidHeaderStart";
    case Code::InvalidHeaderPadding:
      return "InvalidHeaderPadding";
    case Code::InvalidHeaderDeserialization:
      return "InvalidHeaderDeserialization";
    case Code::DuplicateKey:
      return "DuplicateKey";
    case Code::InvalidMetadata:
      return "InvalidMetadata";
    case Code::UnknownDtype:
      return "UnknownDtype";
    case Code::UnsupportedDtype:
      return "UnsupportedDtype";
    case Code::InvalidShape:
      return "InvalidShape";
    case Code::InvalidOffset:
      return "InvalidOffset";
    case Code::ValidationOverflow:
      return "ValidationOverflow";
    case Code::MisalignedSlice:
      return "MisalignedSlice";
    case Code::TensorInvalidInfo:
      return "TensorInvalidInfo";
    case Code::MetadataIncompleteBuffer:
      return "MetadataIncompleteBuffer";
    case Code::OutOfMemory:
      return "OutOfMemory";
  }
  return "Unknown";
}

Result parse_header(const uint8_t* bytes, size_t size, uint64_t file_size, Header* out) noexcept try {
  return parse(bytes, size, file_size, out);
} catch (...) {  // Only an allocation can throw here, and its message must not allocate: 15 characters fit a std::string.
  return {Code::OutOfMemory, "out of memory", {}};
}

}  // namespace tilewise::safetensors
