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

// Whether a machine that runs avx512vnni also has VBMI, which permutes the bytes of whole vectors.
bool machine_permutes_bytes();

// Whether a machine that runs avx512vnni also has AVX512-BF16, the dot products of halved floats.
bool machine_multiplies_bf16();

const char* isa_name(Isa isa);

// What the processor calls itself ("unknown" where it does not), with its family and model.
std::string processor_name();

// "portable", "avx2", "avx512", "avx512vnni"; nothing for any other text.
std::optional<Isa> isa_from_name(std::string_view name);

// Every instruction set that machine_isa() includes, slowest first.
std::vector<Isa> machine_isas();

}  // namespace gossamer
