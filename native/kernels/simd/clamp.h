// Included once per instruction set, after one of the other headers of this folder.
#pragma once

namespace {

inline V clamp(V x, V low, V high) { return min_or_b(high, max_or_b(low, x)); }  // NaN passes through

}  // namespace
