#include "device.h"

namespace tilewise::TILEWISE_GPU {
namespace {

class GraphRecording final : public Recording {
 public:
  GraphRecording(cudaGraphExec_t executable, Faults& faults) : executable(executable), watches(faults.recorded()), faults_(faults) {}
  ~GraphRecording() override {
    (void)cudaGraphExecDestroy(executable);  // one that still runs ends first
    faults_.release(watches);
  }

  const cudaGraphExec_t executable;
  const std::vector<Faults::Watch> watches;

 private:
  Faults& faults_;
};

class EventMark final : public Mark {
 public:
  EventMark(cudaEvent_t event, std::vector<cudaEvent_t>& free) : event(event), free_(free) {}
  ~EventMark() override { free_.push_back(event); }

  const cudaEvent_t event;

 private:
  std::vector<cudaEvent_t>& free_;
};

cudaEvent_t event_of(const Mark& mark) { return static_cast<const EventMark&>(mark).event; }

}  // namespace

Status Device::open(int index, bool tf32, const OpFunction* table) {
  table_ = table;
  gpu_.index = index;
  gpu_.tf32 = tf32;
  TILEWISE_RETURN_IF_ERROR(bind());
  cudaDeviceProp properties;
  TILEWISE_RETURN_IF_CUDA_ERROR("reading the GPU's properties", cudaGetDeviceProperties(&properties, index));
  gpu_.capability = 10 * properties.major + properties.minor;
  gpu_.multiprocessors = properties.multiProcessorCount;
  gpu_.shared_per_block = properties.sharedMemPerBlockOptin;
  gpu_.l2_bytes = static_cast<size_t>(properties.l2CacheSize);
  info_.name = properties.name;
  info_.memory_bytes = properties.totalGlobalMem;
  info_.threads = 1;
  info_.native_bf16 = true;
  // Ordered with nothing but itself: another library's work on the default stream does not wait for ours, nor ours for it.
  cudaStream_t stream;
  TILEWISE_RETURN_IF_CUDA_ERROR("making a stream", cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  gpu_.stream = stream;
  staging_ = std::make_unique<Staging>(stream);
  return Status::ok();
}

Device::~Device() {
  if (!gpu_.stream) return;
  (void)bind();
  (void)cudaStreamSynchronize(stream());
  staging_.reset();
  for (cudaEvent_t event : free_events_) (void)cudaEventDestroy(event);
  (void)cudaStreamDestroy(stream());
}

// The runtime's current device belongs to the thread.
Status Device::bind() {
  static thread_local int current = -1;
  if (current == gpu_.index) return Status::ok();
  TILEWISE_RETURN_IF_CUDA_ERROR("choosing the GPU", cudaSetDevice(gpu_.index));
  current = gpu_.index;
  return Status::ok();
}

// Plain cudaMalloc, under the engine's caching allocator. That cache needs no events to be ordered by the stream: all work of a device goes
// to one stream, in the order of the commands, so what a reused block is written by comes after whatever read it before. CUDA's own
// stream-ordered pool would be a second cache below the first; and where memory is given back for good, cudaFree's wait for the GPU is what
// is wanted.
Status Device::allocate(size_t bytes, void** memory) {
  TILEWISE_RETURN_IF_ERROR(bind());
  const Status status = status_of(cudaMalloc(memory, bytes), "cudaMalloc");
  if (status.code != Code::out_of_memory) return status;
  *memory = nullptr;
  size_t free = 0, total = 0;
  TILEWISE_RETURN_IF_CUDA_ERROR("cudaMemGetInfo", cudaMemGetInfo(&free, &total));
  return Status::error(Code::out_of_memory, "needs " + std::to_string(bytes) + " bytes, the GPU has " + std::to_string(free) + " of " +
                                                std::to_string(total) + " free");
}

void Device::release(void* memory, size_t) {
  if (bind()) (void)cudaFree(memory);
}

void Device::poison(void* memory, size_t bytes) { (void)cudaMemsetAsync(memory, 0xff, bytes, stream()); }

Status Device::upload(void* destination, const void* source, size_t bytes) {
  TILEWISE_RETURN_IF_ERROR(bind());
  return staging_->upload(destination, source, bytes);
}

Status Device::download(void* destination, const void* source, size_t bytes) {
  TILEWISE_RETURN_IF_ERROR(bind());
  TILEWISE_RETURN_IF_ERROR(staging_->download(destination, source, bytes));
  return faults_.take();
}

Status Device::run(Op op, const void* args, Context& context) {
  TILEWISE_RETURN_IF_ERROR(bind());
  TILEWISE_RETURN_IF_ERROR(faults_.begin(op, args, recording_, &gpu_.fault));
  return table_[static_cast<int>(op)](context, args);
}

Status Device::synchronize() {
  TILEWISE_RETURN_IF_ERROR(bind());
  TILEWISE_RETURN_IF_CUDA_ERROR("waiting for the GPU", cudaStreamSynchronize(stream()));
  return faults_.take();
}

Status Device::mark(std::unique_ptr<Mark>* mark) {
  TILEWISE_RETURN_IF_ERROR(bind());
  cudaEvent_t event = nullptr;
  if (free_events_.empty()) {
    TILEWISE_RETURN_IF_CUDA_ERROR("making an event", cudaEventCreateWithFlags(&event, cudaEventDefault));
  } else {
    event = free_events_.back();
    free_events_.pop_back();
  }
  *mark = std::make_unique<EventMark>(event, free_events_);
  return status_of(cudaEventRecord(event, stream()), "recording an event");
}

Status Device::elapsed(const Mark& from, const Mark& to, double* milliseconds) {
  TILEWISE_RETURN_IF_ERROR(bind());
  for (const Mark* mark : {&from, &to}) TILEWISE_RETURN_IF_CUDA_ERROR("waiting for an event", cudaEventSynchronize(event_of(*mark)));
  float value = 0;
  TILEWISE_RETURN_IF_CUDA_ERROR("reading two events", cudaEventElapsedTime(&value, event_of(from), event_of(to)));
  *milliseconds = value;
  return Status::ok();
}

// Relaxed: what other threads and libraries of the process do meanwhile is no business of the recording, and this thread allocates while it
// records.
Status Device::begin_recording() {
  TILEWISE_RETURN_IF_ERROR(bind());
  TILEWISE_RETURN_IF_CUDA_ERROR("beginning a graph", cudaStreamBeginCapture(stream(), cudaStreamCaptureModeRelaxed));
  recording_ = true;
  return Status::ok();
}

Status Device::end_recording(std::unique_ptr<Recording>* recording) {
  recording_ = false;
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  Status status = status_of(cudaStreamEndCapture(stream(), &graph), "ending a graph");
  if (status) {
    status = status_of(cudaGraphInstantiate(&executable, graph, 0), "instantiating a graph");
    (void)cudaGraphDestroy(graph);
  }
  if (status)
    *recording = std::make_unique<GraphRecording>(executable, faults_);
  else
    faults_.release(faults_.recorded());
  return status;
}

Status Device::launch(Recording& recording) {
  TILEWISE_RETURN_IF_ERROR(bind());
  auto& graph = static_cast<GraphRecording&>(recording);
  faults_.launched(graph.watches);
  return status_of(cudaGraphLaunch(graph.executable, stream()), "launching a graph");
}

}  // namespace tilewise::TILEWISE_GPU
