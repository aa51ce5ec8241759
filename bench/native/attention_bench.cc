// Times attention on views of one packed buffer, as the projection of self-attention gives them. Reads a problem a line from standard
// input, writes its best times of forward and backward in microseconds:
//   f32|bf16 batch queries keys heads kv_heads dim causal dropout lengths|- seconds
// lengths, separated by commas, makes ragged sequences of them. attention_bench.py drives it against PyTorch. Build: see there.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "cpu/cpu.h"
#include "cpu/parallel.h"

using namespace tilewise;

namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

struct Free {
  void operator()(char* data) const { std::free(data); }
};

class Arena final : public Context {
 public:
  Status scratch(size_t bytes, void** memory) override {
    if (bytes > size_) data_.reset(static_cast<char*>(std::aligned_alloc(64, (size_ = (bytes + 63) / 64 * 64))));
    *memory = data_.get();
    return Status::ok();
  }

 private:
  std::unique_ptr<char, Free> data_;
  size_t size_ = 0;
};

// Contiguous storage of `row` elements a row.
struct Buffer {
  std::vector<char> bytes;
  DType dtype;
  int64_t row;

  Buffer(int64_t rows, int64_t width, DType type) : bytes(static_cast<size_t>(rows * width) * size_of(type)), dtype(type), row(width) {
    std::mt19937 generator(1);
    std::normal_distribution<float> normal;
    for (int64_t i = 0; i < rows * width; ++i) {
      if (type == DType::f32)
        reinterpret_cast<float*>(bytes.data())[i] = normal(generator);
      else
        reinterpret_cast<bf16*>(bytes.data())[i] = bf16(normal(generator));
    }
  }
  // [batch, length, heads, dim] or [rows, heads, dim], from element `offset` of each row.
  View view(bool ragged, int64_t batch, int64_t length, int64_t heads, int64_t dim, int64_t offset) {
    View v{bytes.data() + static_cast<size_t>(offset) * size_of(dtype), dtype, ragged ? 3 : 4, {}, {}};
    const int64_t dims[] = {batch, length, heads, dim}, strides[] = {length * row, row, dim, 1};
    for (int i = 0; i < v.rank; ++i) v.dims[i] = dims[i + (ragged ? 1 : 0)], v.strides[i] = strides[i + (ragged ? 1 : 0)];
    return v;
  }
};

template <class Run>
double best_of(double seconds, Run&& run) {
  double best = 1e9;
  const double start = now();
  for (int i = 0; i < 4 || now() - start < seconds; ++i) {
    const double from = now();
    if (!run()) return 0;
    if (i > 0) best = std::min(best, now() - from);
  }
  return best * 1e6;
}

}  // namespace

int main() {
  Arena arena;
  std::string type, list;
  int64_t batch, queries, keys, heads, kv_heads, dim, causal;
  float dropout;
  double seconds;
  while (std::cin >> type >> batch >> queries >> keys >> heads >> kv_heads >> dim >> causal >> dropout >> list >> seconds) {
    const DType dtype = type == "bf16" ? DType::bf16 : DType::f32;
    const bool ragged = list != "-";
    std::vector<int32_t> offsets = {0};
    std::istringstream words(list);
    for (std::string word; ragged && std::getline(words, word, ',');) offsets.push_back(offsets.back() + std::stoi(word));
    const int64_t rows = ragged ? offsets.back() : batch * queries, key_rows = ragged ? rows : batch * keys;
    const bool packed = rows == key_rows;
    const int64_t q_width = heads * dim, k_width = kv_heads * dim;
    Buffer qkv(packed ? rows : key_rows, q_width + 2 * k_width, dtype), gradients(packed ? rows : key_rows, q_width + 2 * k_width, dtype);
    Buffer q_own(packed ? 0 : rows, q_width, dtype), dq_own(packed ? 0 : rows, q_width, dtype);
    Buffer output(rows, q_width, dtype), doutput(rows, q_width, dtype), sums(rows, heads, DType::f32);
    const int64_t q_length = ragged ? rows : queries, k_length = ragged ? key_rows : keys;
    const auto of = [&](Buffer& buffer, int64_t length, int64_t count, int64_t offset) {
      return buffer.view(ragged, batch, length, count, dim, offset);
    };
    attention_args a{};
    a.q = packed ? of(qkv, q_length, heads, 0) : of(q_own, q_length, heads, 0);
    a.k = of(qkv, k_length, kv_heads, q_width);
    a.v = of(qkv, k_length, kv_heads, q_width + k_width);
    a.q_offsets = a.k_offsets = a.key_lengths = a.keep = a.bias = absent_view();
    if (ragged) a.q_offsets = a.k_offsets = View{offsets.data(), DType::i32, 1, {batch + 1}, {1}};
    a.output = of(output, q_length, heads, 0);
    a.log_sum_exp = View{sums.bytes.data(), DType::f32, 2, {rows, heads}, {heads, 1}};
    a.batch = static_cast<int32_t>(batch);
    a.max_q = static_cast<int32_t>(queries);
    a.max_k = static_cast<int32_t>(keys);
    a.causal = static_cast<int32_t>(causal);
    a.window_left = a.window_right = -1;
    a.scale = 1.0f / std::sqrt(static_cast<float>(dim));
    a.dropout = dropout;
    attention_backward_args b{};
    b.doutput = of(doutput, q_length, heads, 0);
    b.q = a.q, b.k = a.k, b.v = a.v, b.output = a.output, b.log_sum_exp = a.log_sum_exp;
    b.q_offsets = a.q_offsets, b.k_offsets = a.k_offsets, b.key_lengths = a.key_lengths, b.keep = a.keep, b.bias = a.bias;
    b.dq = packed ? of(gradients, q_length, heads, 0) : of(dq_own, q_length, heads, 0);
    b.dk = of(gradients, k_length, kv_heads, q_width);
    b.dv = of(gradients, k_length, kv_heads, q_width + k_width);
    b.dbias = absent_view();
    b.batch = a.batch, b.max_q = a.max_q, b.max_k = a.max_k, b.causal = a.causal, b.window_left = b.window_right = -1;
    b.scale = a.scale, b.dropout = dropout;
    const double forward = best_of(seconds, [&] { return static_cast<bool>(cpu::TILEWISE_ISA::attention(arena, a)); });
    const double backward = best_of(seconds, [&] { return static_cast<bool>(cpu::TILEWISE_ISA::attention_backward(arena, b)); });
    std::cout << forward << ' ' << backward << std::endl;
  }
}
