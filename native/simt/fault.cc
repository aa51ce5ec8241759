#include "fault.h"

#include <signal.h>
#include <ucontext.h>

#include <cstdlib>
#include <mutex>

#include "machine.h"

namespace tilewise::simt {
namespace {

struct sigaction g_previous[2];

[[noreturn]] void report(Machine* machine, const void* address) { machine->fault(address); }

void on_fault(int signal, siginfo_t* info, void* raw) {
  Machine* machine = Machine::active();
  if (machine && machine->runs_kernel()) {
    // The fiber is lost; the report is made by returning from the signal into it, on a stack that cannot be the one that overflowed.
    auto* state = static_cast<ucontext_t*>(raw);
    auto& registers = state->uc_mcontext.gregs;
    registers[REG_RIP] = reinterpret_cast<greg_t>(&report);
    registers[REG_RDI] = reinterpret_cast<greg_t>(machine);
    registers[REG_RSI] = reinterpret_cast<greg_t>(info->si_addr);
    registers[REG_RSP] = static_cast<greg_t>((reinterpret_cast<uintptr_t>(machine->spare_stack()) - 256) & ~uintptr_t{15}) - 8;
    return;
  }
  const struct sigaction& previous = g_previous[signal == SIGBUS];
  if (previous.sa_flags & SA_SIGINFO && previous.sa_sigaction) return previous.sa_sigaction(signal, info, raw);
  sigaction(signal, &previous, nullptr);  // the instruction faults again, now for the handler that was there
}

}  // namespace

void catch_faults() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigemptyset(&action.sa_mask);
    sigaction(SIGSEGV, &action, &g_previous[0]);
    sigaction(SIGBUS, &action, &g_previous[1]);
  });
  static thread_local bool has_stack = false;
  if (has_stack) return;
  has_stack = true;
  constexpr size_t kBytes = 64 * 1024;
  stack_t stack{};
  stack.ss_sp = std::malloc(kBytes);  // for the life of the thread
  stack.ss_size = kBytes;
  sigaltstack(&stack, nullptr);
}

}  // namespace tilewise::simt
