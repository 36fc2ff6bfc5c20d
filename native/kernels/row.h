// A kernel table: one row per implementation. Dispatch, tests and benchmarks all read the same rows.
#pragma once

#include <cassert>
#include <cstddef>

#include "kernels/isa.h"

namespace gossamer {

template <class Function>
struct Row {
  Isa isa;
  const char* name;  // "family/instruction-set", what engine.explain() prints
  Function run;
};

// The fastest row of a table (sorted by instruction set, portable first) that `limit` allows.
template <class AnyRow, std::size_t kRows>
const AnyRow& fastest(const AnyRow (&rows)[kRows], Isa limit) {
  static_assert(kRows > 0);
  assert(rows[0].isa == Isa::portable);
  const AnyRow* best = &rows[0];
  for (const AnyRow& row : rows) {
    if (row.isa <= limit) best = &row;
  }
  return *best;
}

// How many rows a table has: the portable one, and the x86 ones where they are compiled.
#if defined(__x86_64__)
inline constexpr std::size_t kRowCount = 3;
#define GOSSAMER_ROWS(family, prefix)                                                       \
  {{Isa::portable, family "/portable", prefix##_portable},                                  \
   {Isa::avx2, family "/avx2", prefix##_avx2},                                              \
   {Isa::avx512, family "/avx512", prefix##_avx512}}
// A table with a further row for the dot products of bytes.
inline constexpr std::size_t kByteRowCount = 4;
#define GOSSAMER_BYTE_ROWS(family, prefix)                                                  \
  {{Isa::portable, family "/portable", prefix##_portable},                                  \
   {Isa::avx2, family "/avx2", prefix##_avx2},                                              \
   {Isa::avx512, family "/avx512", prefix##_avx512},                                        \
   {Isa::avx512vnni, family "/avx512vnni", prefix##_avx512vnni}}
#else
inline constexpr std::size_t kRowCount = 1;
inline constexpr std::size_t kByteRowCount = 1;
#define GOSSAMER_ROWS(family, prefix) {{Isa::portable, family "/portable", prefix##_portable}}
#define GOSSAMER_BYTE_ROWS(family, prefix) {{Isa::portable, family "/portable", prefix##_portable}}
#endif

}  // namespace gossamer
