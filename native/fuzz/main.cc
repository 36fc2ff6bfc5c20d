// A fuzzer for compilers that have none: changes seeds at random. Coverage is not measured; the coders are small, and
// most damage is seen by the first decoder that meets it.
//
//   fuzz_codec SEEDS... [--runs N] [--seed S]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "fuzz/target.h"

namespace {

using Input = std::vector<uint8_t>;
using Random = std::mt19937_64;

size_t below(Random& random, size_t limit) { return static_cast<size_t>(random() % limit); }

void flip_bit(Input& input, Random& random) {
  input[below(random, input.size())] ^= static_cast<uint8_t>(1u << below(random, 8));
}

void set_byte(Input& input, Random& random) {
  static constexpr uint8_t kEdges[] = {0, 1, 0x7F, 0x80, 0xFE, 0xFF};
  input[below(random, input.size())] = random() % 2 ? kEdges[below(random, 6)] : static_cast<uint8_t>(random());
}

void erase(Input& input, Random& random) {
  const size_t at = below(random, input.size()), count = 1 + below(random, std::min<size_t>(8, input.size() - at));
  input.erase(input.begin() + static_cast<long>(at), input.begin() + static_cast<long>(at + count));
}

void insert(Input& input, Random& random) {
  const auto at = input.begin() + static_cast<long>(below(random, input.size() + 1));
  input.insert(at, 1 + below(random, 8), static_cast<uint8_t>(random()));
}

void splice(Input& input, const Input& other, Random& random) {
  if (other.empty()) return;
  const size_t from = below(random, other.size()), at = below(random, input.size());
  input.resize(at);
  input.insert(input.end(), other.begin() + static_cast<long>(from), other.end());
}

Input changed(const std::vector<Input>& seeds, Random& random) {
  Input input = seeds[below(random, seeds.size())];
  for (size_t i = 1 + below(random, 4); i > 0 && !input.empty(); --i) {
    switch (below(random, 6)) {
      case 0: erase(input, random); break;
      case 1: insert(input, random); break;
      case 2: splice(input, seeds[below(random, seeds.size())], random); break;
      case 3: set_byte(input, random); break;
      default: flip_bit(input, random); break;
    }
  }
  return input;
}

void load(const std::filesystem::path& path, std::vector<Input>& seeds) {
  std::vector<std::filesystem::path> files{path};
  if (std::filesystem::is_directory(path)) {
    files.clear();
    for (const auto& entry : std::filesystem::directory_iterator(path)) files.push_back(entry.path());
    std::sort(files.begin(), files.end());
  }
  for (const auto& file : files) {
    std::ifstream stream(file, std::ios::binary);
    seeds.emplace_back(std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>());
  }
}

}  // namespace

int main(int count, char** arguments) {
  std::vector<Input> seeds;
  unsigned long runs = 100000, seed = 1;
  for (int i = 1; i < count; ++i) {
    const std::string argument = arguments[i];
    if (argument == "--runs" && i + 1 < count) runs = std::strtoul(arguments[++i], nullptr, 10);
    else if (argument == "--seed" && i + 1 < count) seed = std::strtoul(arguments[++i], nullptr, 10);
    else load(argument, seeds);
  }
  if (seeds.empty()) return std::fprintf(stderr, "usage: fuzz_codec SEEDS... [--runs N] [--seed S]\n"), 2;
  for (const Input& input : seeds) LLVMFuzzerTestOneInput(input.data(), input.size());
  Random random(seed);
  for (unsigned long run = 0; run < runs; ++run) {
    // An exact copy on the heap, so that the sanitizer sees the first byte that is read beyond it.
    const Input input = changed(seeds, random);
    LLVMFuzzerTestOneInput(input.data(), input.size());
  }
  std::printf("%zu seeds, %lu runs\n", seeds.size(), runs);
  return 0;
}
