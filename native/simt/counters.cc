#include "counters.h"

#include <algorithm>
#include <set>

namespace tilewise::simt {
namespace {

constexpr uintptr_t kSector = 32;
constexpr int kBanks = 32;
constexpr uint32_t kWavefrontBytes = 128;

// Wavefronts that serve these words: the most distinct words any one bank has to give.
uint64_t wavefronts(const std::vector<uintptr_t>& words) {
  std::set<uintptr_t> distinct(words.begin(), words.end());
  int bank[kBanks] = {};
  int most = 0;
  for (uintptr_t word : distinct) most = std::max(most, ++bank[word % kBanks]);
  return static_cast<uint64_t>(most);
}

}  // namespace

void Counts::add(const Counts& other) {
  launches += other.launches;
  load_requests += other.load_requests;
  load_sectors += other.load_sectors;
  load_bytes += other.load_bytes;
  store_requests += other.store_requests;
  store_sectors += other.store_sectors;
  store_bytes += other.store_bytes;
  shared_requests += other.shared_requests;
  shared_wavefronts += other.shared_wavefronts;
  shared_ideal += other.shared_ideal;
  matrix_instructions += other.matrix_instructions;
  distinct_sectors += other.distinct_sectors;
}

void Counters::access(Space space, int warp, int thread, uintptr_t address, uint32_t bytes, const Site& site) {
  const uint32_t visit = visits_[{site.file, site.line, thread, 0, space}]++;
  pending_[{site.file, site.line, warp, visit, space}].push_back({address, bytes, thread});
}

void Counters::matrix_rows(const uintptr_t* rows, int count) {
  for (int first = 0; first < count; first += 8) {
    std::vector<uintptr_t> words;
    for (int i = first; i < std::min(first + 8, count); ++i)
      for (uintptr_t word = 0; word < 4; ++word) words.push_back(rows[i] / 4 + word);
    ++launch_.shared_requests;
    ++launch_.shared_ideal;
    launch_.shared_wavefronts += wavefronts(words);
  }
}

void Counters::settle(Space space, std::vector<Lane>& lanes) {
  // They come in the order in which fibers ran: after a barrier, the last one to arrive goes on first.
  std::sort(lanes.begin(), lanes.end(), [](const Lane& a, const Lane& b) { return a.thread < b.thread; });
  if (space == Space::shared) {
    // Wide accesses are served in parts of 128 bytes: eight lanes of 16 bytes, sixteen of 8.
    const size_t part = std::max<size_t>(1, kWavefrontBytes / std::max(4u, lanes[0].bytes));
    ++launch_.shared_requests;
    for (size_t first = 0; first < lanes.size(); first += part) {
      std::vector<uintptr_t> words;
      for (size_t i = first; i < std::min(first + part, lanes.size()); ++i)
        for (uintptr_t at = lanes[i].address / 4; at <= (lanes[i].address + lanes[i].bytes - 1) / 4; ++at) words.push_back(at);
      ++launch_.shared_ideal;
      launch_.shared_wavefronts += wavefronts(words);
    }
    return;
  }
  std::set<uintptr_t> sectors;
  uint64_t bytes = 0;
  for (const Lane& lane : lanes) {
    bytes += lane.bytes;
    for (uintptr_t at = lane.address / kSector; at <= (lane.address + lane.bytes - 1) / kSector; ++at) sectors.insert(at);
  }
  touched_.insert(sectors.begin(), sectors.end());
  const bool load = space == Space::load;
  (load ? launch_.load_requests : launch_.store_requests) += 1;
  (load ? launch_.load_sectors : launch_.store_sectors) += sectors.size();
  (load ? launch_.load_bytes : launch_.store_bytes) += bytes;
}

void Counters::end_block() {
  for (auto& [key, lanes] : pending_) settle(key.space, lanes);
  pending_.clear();
  visits_.clear();
}

void Counters::end_launch(const std::string& kernel, const LaunchCount& shape) {
  launch_.launches = 1;
  launch_.distinct_sectors = touched_.size();
  kernels_[kernel].add(launch_);
  std::vector<LaunchCount>& known = shapes_[kernel];
  auto same = std::find_if(known.begin(), known.end(), [&](const LaunchCount& each) {
    return each.function == shape.function && std::equal(each.grid, each.grid + 3, shape.grid) &&
           std::equal(each.block, each.block + 3, shape.block) && each.dynamic_shared == shape.dynamic_shared;
  });
  if (same == known.end()) same = known.insert(known.end(), shape);
  ++same->launches;
}

}  // namespace tilewise::simt
