// Instruction sets that kernels are written for, and which of them this machine can run.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gossamer {

// Ordered: a machine that runs one runs all before it.
// avx2 includes FMA and F16C; avx512 is F, BW, DQ and VL; avx512vnni adds the dot products of bytes.
enum class Isa { portable, avx2, avx512, avx512vnni };

// The best instruction set that the CPU has *and* whose registers the operating system saves (XCR0).
Isa machine_isa();

const char* isa_name(Isa isa);

// What the processor calls itself; "unknown" where it does not.
std::string processor_name();

// "portable", "avx2", "avx512", "avx512vnni"; nothing for any other text.
std::optional<Isa> isa_from_name(std::string_view name);

// Every instruction set that machine_isa() includes, slowest first.
std::vector<Isa> machine_isas();

}  // namespace gossamer
