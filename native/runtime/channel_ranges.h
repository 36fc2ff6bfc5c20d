// Which channels of tensors in cells follow each other in another one: what a rewriting writes and gossamer.Channels reads.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/model.h"

namespace gossamer {

// Channels begin .. begin + count - 1 of an input.
struct ChannelRange {
  size_t input;
  int64_t begin, count;
};

// As the attribute `ranges` of a node, and from it.
std::vector<int64_t> to_attribute(const std::vector<ChannelRange>& ranges);
std::vector<ChannelRange> channel_ranges(const Node& node);
int64_t channel_count(const std::vector<ChannelRange>& ranges);

}  // namespace gossamer
