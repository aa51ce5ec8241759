#include "interpreter.h"

#include <algorithm>
#include <cstring>

namespace tilewise {
namespace {

int64_t pair(const int32_t* word) { return static_cast<int64_t>(static_cast<uint32_t>(word[0])) | (static_cast<int64_t>(word[1]) << 32); }

template <class T>
T& member(void* args, const Field& field) {
  return *reinterpret_cast<T*>(static_cast<char*>(args) + field.offset);
}
template <class T>
const T& member(const void* args, const Field& field) {
  return *reinterpret_cast<const T*>(static_cast<const char*>(args) + field.offset);
}

bool is_list(FieldKind kind) { return kind == FieldKind::in_list || kind == FieldKind::acc_list; }
bool is_tensor(FieldKind kind) { return kind <= FieldKind::acc_opt; }
bool is_written(FieldKind kind) {
  return kind == FieldKind::out || kind == FieldKind::out_opt || kind == FieldKind::acc || kind == FieldKind::acc_opt ||
         kind == FieldKind::acc_list;
}
// Whether the op draws random numbers: one with a counter does, unless its probability is 0.
bool draws(const OpInfo& op, const void* args) {
  bool counter = false, never = false;
  for (int i = 0; i < op.field_count; ++i) {
    const Field& field = op.fields[i];
    if (field.kind == FieldKind::counter) counter = true;
    if (field.kind == FieldKind::f32 && (std::strcmp(field.name, "dropout") == 0 || std::strcmp(field.name, "p") == 0))
      never = member<float>(args, field) == 0.0f;
  }
  return counter && !never;
}
// Whether a poisoned tensor in this place poisons the op: what is only written may hold anything.
bool is_read(FieldKind kind) { return kind != FieldKind::out && kind != FieldKind::out_opt; }

}  // namespace

void Interpreter::execute(const int32_t* words, size_t count) {
  const int32_t* word = words;
  const int32_t* end = words + count;
  while (word < end && !session_.closed()) {
    const int32_t command = *word++;
    switch (command) {
      case kAllocate:
        word = allocate(word);
        break;
      case kView:
        word = view(word);
        break;
      case kFree:
        if (trace_ && !trace_->own.count(*word)) trace_->recordable = false;
        session_.slots.at(*word++) = Slot{};
        break;
      case kRestore:
        if (trace_ && !trace_->own.count(*word)) trace_->outside.insert(*word);
        restore(session_.slots.at(*word++));
        break;
      case kMark:
        mark(*word++);
        break;
      case kUnmark:
        session_.marks.erase(*word++);
        break;
      default:
        word = run(static_cast<Op>(command - kFirstOp), word);
        break;
    }
  }
}

const int32_t* Interpreter::allocate(const int32_t* word) {
  const int32_t index = word[0];
  const auto dtype = static_cast<DType>(word[1] & 0xff);
  const int rank = (word[1] >> 8) & 0xff;
  const int op = word[1] >> 16;
  if (trace_) trace_->own.insert(index);
  View view{};
  view.dtype = dtype;
  view.rank = rank;
  int64_t stride = 1;
  for (int i = rank - 1; i >= 0; --i) {
    view.dims[i] = word[2 + i];
    view.strides[i] = stride;
    stride *= word[2 + i];
  }
  Slot& slot = session_.slots.at(index);
  // A replayed allocation finds last time's block: the tensor that outlives the capture keeps its memory.
  const size_t bytes = static_cast<size_t>(view.count()) * size_of(dtype);
  if (slot.buffer && slot.buffer.use_count() == 1 && slot.buffer->bytes == bytes) {
    view.data = slot.buffer->data;
    slot.view = view;
    slot.buffer->failure = nullptr;
    return word + 2 + rank;
  }
  slot = Slot{};
  slot.view = view;
  slot.owner = op == 0 ? "tensor" : kOps[op - kFirstOp].name;
  obtain(slot);
  return word + 2 + rank;
}

// Memory for a slot that has none.
void Interpreter::obtain(Slot& slot) {
  if (engine_.lost()) {
    slot.no_memory = engine_.lost();
    if (trace_) trace_->recordable = false;
    return;
  }
  const size_t bytes = static_cast<size_t>(slot.view.count()) * size_of(slot.view.dtype);
  void* data = nullptr;
  Status status = engine_.allocator_.allocate(bytes, &data);
  if (status) {
    slot.view.data = data;
    slot.buffer = std::make_shared<Buffer>(engine_.allocator_, data, bytes, slot.owner);
    slot.no_memory = nullptr;
  } else {
    if (trace_) trace_->recordable = false;
    const std::string what = std::string("a ") + name_of(slot.view.dtype) + " tensor " + slot.view.shape_string();
    if (status.code == Code::out_of_memory)
      slot.no_memory = std::make_shared<Failure>(
          Failure{status.code, std::string("[") + slot.owner + "] out of memory: " + what + " " + status.message, largest_owners()});
    else
      slot.no_memory = engine_.note(Status::error(status.code, what + ": " + status.message), slot.owner);
  }
}

void Interpreter::restore(Slot& slot) {
  if (trace_ && slot.failure()) trace_->recordable = false;
  if (slot.buffer) {
    if (slot.buffer->stale) slot.buffer->failure = nullptr;
  } else if (slot.owner) {
    auto before = slot.no_memory;
    obtain(slot);
    // Elements that are not set yet: good once something writes them whole.
    if (slot.buffer) slot.buffer->failure = before;
  }
}

// A list that is captured holds none: JavaScript refuses them there.
void Interpreter::mark(int32_t number) {
  Marked& marked = session_.marks[number];
  marked.failure = engine_.lost();
  if (!marked.failure) marked.failure = engine_.note(engine_.backend_->mark(&marked.mark), "mark");
}

const int32_t* Interpreter::view(const int32_t* word) {
  const int32_t index = word[0];
  const int rank = word[2];
  Slot* base = session_.slots.find(word[1]);
  if (trace_) {
    if (!trace_->own.count(word[1])) trace_->outside.insert(word[1]);
    trace_->own.insert(index);
  }
  Slot slot;
  slot.view.rank = rank;
  if (base) {
    slot.buffer = base->buffer;
    slot.no_memory = base->no_memory;
    slot.view.dtype = base->view.dtype;
    // Offsets count from the start of the buffer, so that a view of a view is no special case.
    if (base->buffer && base->buffer->data)
      slot.view.data = static_cast<char*>(base->buffer->data) + pair(word + 3) * static_cast<int64_t>(size_of(base->view.dtype));
  }
  for (int i = 0; i < rank; ++i) {
    slot.view.dims[i] = word[5 + i];
    slot.view.strides[i] = pair(word + 5 + rank + 2 * i);
  }
  session_.slots.at(index) = std::move(slot);
  return word + 5 + 3 * rank;
}

const int32_t* Interpreter::run(Op op, const int32_t* word) {
  const OpInfo& info = kOps[static_cast<int>(op)];
  alignas(16) char args[kMaxArgsSize] = {};
  std::shared_ptr<const Failure> failure = engine_.lost();
  written_.clear();
  list_views_.clear();

  auto resolve = [&](int32_t index, const Field& field) -> View {
    if (trace_ && index >= 0 && !trace_->own.count(index)) trace_->outside.insert(index);
    Slot* slot = session_.slots.find(index);
    if (!slot) return absent_view();
    if (!failure) failure = is_read(field.kind) ? slot->failure() : slot->no_memory;
    if (is_written(field.kind)) written_.emplace_back(slot, field.kind);
    return slot->view;
  };

  // Lists point into one array, whose size is only known after all are decoded: offsets first, pointers at the end.
  size_t list_starts[8];
  int lists = 0;
  for (int i = 0; i < info.field_count; ++i) {
    const Field& field = info.fields[i];
    if (is_tensor(field.kind)) {
      member<View>(args, field) = resolve(*word++, field);
    } else if (is_list(field.kind)) {
      const int32_t count = *word++;
      list_starts[lists++] = list_views_.size();
      for (int32_t k = 0; k < count; ++k) list_views_.push_back(resolve(*word++, field));
      member<ViewList>(args, field).count = count;
    } else if (field.kind == FieldKind::i32 || field.kind == FieldKind::f32) {
      std::memcpy(static_cast<char*>(static_cast<void*>(args)) + field.offset, word++, 4);
    } else {
      uint64_t value = static_cast<uint64_t>(pair(word));
      if (field.kind == FieldKind::counter) value += counter_base_;
      member<uint64_t>(args, field) = value;
      word += 2;
    }
  }
  lists = 0;
  for (int i = 0; i < info.field_count; ++i)
    if (is_list(info.fields[i].kind)) member<ViewList>(args, info.fields[i]).items = list_views_.data() + list_starts[lists++];

  if (trace_ && (failure || draws(info, args))) trace_->recordable = false;
  const bool recording = trace_ && trace_->recording;
  if (recording && !trace_->recordable) return word;

  if (!failure) {
    Status status = engine_.backend_->run(op, args, *this);
    release_scratch();
    if (!status) {
      failure = describe(info, args, status);
      if (status.code == Code::device_lost) engine_.lost_ = failure;
      if (trace_) trace_->recordable = false;
      if (recording) return word;
    }
  }
  for (auto [slot, kind] : written_) {
    const bool assigned = kind == FieldKind::out || kind == FieldKind::out_opt;
    if (!failure) {
      if (assigned) slot->written();
    } else if (Buffer* buffer = slot->buffer.get()) {
      // Lists are updated together or not at all. A sum that lacks a part is neither old nor new.
      const bool untouched = kind == FieldKind::acc_list;
      buffer->stale = untouched && (!buffer->failure || buffer->stale);
      buffer->failure = failure;
    }
  }
  return word;
}

Status Interpreter::scratch(size_t bytes, void** memory) {
  TILEWISE_RETURN_IF_ERROR(engine_.allocator_.allocate(bytes, memory));
  scratch_.emplace_back(*memory, bytes);
  return Status::ok();
}

void Interpreter::release_scratch() {
  for (auto& [memory, bytes] : scratch_) engine_.allocator_.release(memory, bytes);
  scratch_.clear();
}

std::shared_ptr<const Failure> Interpreter::describe(const OpInfo& op, const void* args, const Status& status) const {
  std::string detail;
  for (int i = 0; i < op.field_count; ++i) {
    const Field& field = op.fields[i];
    if (!is_tensor(field.kind)) continue;
    const View& view = member<View>(args, field);
    if (view) detail += (detail.empty() ? "" : ", ") + std::string(field.name) + " " + name_of(view.dtype) + view.shape_string();
  }
  if (status.code == Code::out_of_memory) detail += "; " + largest_owners();
  return std::make_shared<Failure>(Failure{status.code, std::string("[") + op.name + "] " + status.message, std::move(detail)});
}

std::string Interpreter::largest_owners() const {
  std::vector<const Buffer*> buffers;
  for (const Slot& slot : session_.slots.all())
    if (slot.buffer && std::find(buffers.begin(), buffers.end(), slot.buffer.get()) == buffers.end()) buffers.push_back(slot.buffer.get());
  const size_t shown = std::min<size_t>(5, buffers.size());
  std::partial_sort(buffers.begin(), buffers.begin() + shown, buffers.end(),
                    [](const Buffer* a, const Buffer* b) { return a->bytes > b->bytes; });
  std::string text = "live " + std::to_string(engine_.allocator_.statistics().live.load()) + " bytes; largest:";
  for (size_t i = 0; i < shown; ++i) text += (i ? ", " : " ") + buffers[i]->owner + " " + std::to_string(buffers[i]->bytes);
  return text;
}

}  // namespace tilewise
