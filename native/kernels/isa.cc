#include "kernels/isa.h"

#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace gossamer {
namespace {

constexpr const char* kNames[] = {"portable", "avx2", "avx512", "avx512vnni"};

#if defined(__x86_64__)
bool bit(uint32_t word, int index) { return (word >> index) & 1u; }

uint64_t enabled_state() {
  uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t{high} << 32) | low;
}

Isa detect() {
  uint32_t a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return Isa::portable;
  const bool osxsave = bit(c, 27), fma = bit(c, 12), f16c = bit(c, 29), avx = bit(c, 28);
  if (!(osxsave && avx && fma && f16c)) return Isa::portable;
  const uint64_t state = enabled_state();
  const bool ymm_saved = (state & 0x6) == 0x6, zmm_saved = (state & 0xe6) == 0xe6;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return Isa::portable;
  if (!(bit(b, 5) && ymm_saved)) return Isa::portable;
  const bool f = bit(b, 16), dq = bit(b, 17), bw = bit(b, 30), vl = bit(b, 31);
  if (!(f && dq && bw && vl && zmm_saved)) return Isa::avx2;
  return bit(c, 11) ? Isa::avx512vnni : Isa::avx512;
}

std::string brand() {
  uint32_t words[12] = {};
  for (uint32_t i = 0; i < 3; ++i) {
    uint32_t* w = words + 4 * i;
    if (!__get_cpuid(0x80000002u + i, &w[0], &w[1], &w[2], &w[3])) return "unknown";
  }
  return {reinterpret_cast<const char*>(words), strnlen(reinterpret_cast<const char*>(words), sizeof words)};
}

// Virtual machines give a family of processors one name ("AMD EPYC"): what tells Zen 4 from Zen 5 is the signature.
std::string signature() {
  uint32_t a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return "";
  const uint32_t base = (a >> 8) & 0xf;
  const uint32_t family = base == 0xf ? base + ((a >> 20) & 0xff) : base;
  const uint32_t model = ((a >> 4) & 0xf) | (base == 0xf || base == 6 ? ((a >> 16) & 0xf) << 4 : 0);
  return " (family " + std::to_string(family) + ", model " + std::to_string(model) + ")";
}

bool detect_vbmi() {
  uint32_t a = 0, b = 0, c = 0, d = 0;
  return machine_isa() == Isa::avx512vnni && __get_cpuid_count(7, 0, &a, &b, &c, &d) && bit(c, 1);
}

bool detect_bf16() {
  uint32_t a = 0, b = 0, c = 0, d = 0;
  return machine_isa() == Isa::avx512vnni && __get_cpuid_count(7, 1, &a, &b, &c, &d) && bit(a, 5);
}
#else
Isa detect() { return Isa::portable; }
std::string brand() { return "unknown"; }
std::string signature() { return ""; }
bool detect_vbmi() { return false; }
bool detect_bf16() { return false; }
#endif

}  // namespace

Isa machine_isa() {
  static const Isa found = detect();
  return found;
}

bool machine_permutes_bytes() {
  static const bool found = detect_vbmi();
  return found;
}

bool machine_multiplies_bf16() {
  static const bool found = detect_bf16();
  return found;
}

const char* isa_name(Isa isa) { return kNames[static_cast<int>(isa)]; }

std::string processor_name() { return brand() + signature(); }

std::optional<Isa> isa_from_name(std::string_view name) {
  for (int i = 0; i < 4; ++i) {
    if (name == kNames[i]) return static_cast<Isa>(i);
  }
  return std::nullopt;
}

std::vector<Isa> machine_isas() {
  std::vector<Isa> all;
  for (int i = 0; i <= static_cast<int>(machine_isa()); ++i) all.push_back(static_cast<Isa>(i));
  return all;
}

}  // namespace gossamer
