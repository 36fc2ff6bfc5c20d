#if defined(__x86_64__)
#include "kernels/simd/avx2_int.h"

#include "kernels/attention_rows/body.h"

void gossamer::byte_sums_avx2(const ByteSumsArgs& args) { byte_sums(args); }
void gossamer::byte_softmax_avx2(const ByteSoftmaxArgs& args) { byte_softmax(args); }
void gossamer::sum_rows_avx2(const SumRowsArgs& args) { sum_rows(args); }
#endif
