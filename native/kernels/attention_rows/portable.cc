#include "kernels/simd/portable_int.h"

#include "kernels/attention_rows/body.h"

void gossamer::byte_sums_portable(const ByteSumsArgs& args) { byte_sums(args); }
void gossamer::byte_softmax_portable(const ByteSoftmaxArgs& args) { byte_softmax(args); }
void gossamer::sum_rows_portable(const SumRowsArgs& args) { sum_rows(args); }
