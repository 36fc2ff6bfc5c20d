#include "codec/text.h"

#include <array>
#include <vector>

#include "codec/mixing.h"
#include "codec/rans.h"

namespace gossamer::codec {
namespace {

constexpr int kOrders = 5;  // contexts of 0, 1, 2, 3 and 4 bytes before
constexpr int kTableBits = 16;

// Bytes are coded bit by bit, the highest first; `node` is a 1 followed by the bits so far. Contexts of more than one
// byte share tables through a hash; what collides merely predicts worse.
class TextModel {
 public:
  TextModel() {
    for (auto& table : tables_) table.resize(size_t{1} << kTableBits);
  }

  // `code(place, probability)` codes one bit and returns it.
  template <typename Code>
  uint8_t byte(Code code) {
    std::array<uint32_t, kOrders> base;
    for (int order = 0; order < kOrders; ++order)
      base[order] = order == 0 ? 0 : (history_ << (32 - 8 * order)) * 2654435761u + static_cast<uint32_t>(order);
    uint32_t node = 1;
    for (int place = 0; place < 8; ++place) {
      std::array<AdaptiveBit*, kOrders> contexts;
      for (int order = 0; order < kOrders; ++order) contexts[order] = &tables_[order][slot(base[order], node)];
      const int probability = prediction_.predict(contexts, mixer_);
      const int bit = code(place, probability);
      prediction_.update(bit);
      node = node << 1 | static_cast<uint32_t>(bit);
    }
    history_ = history_ << 8 | (node & 0xFF);
    return static_cast<uint8_t>(node);
  }

 private:
  static size_t slot(uint32_t base, uint32_t node) {
    return ((base + node) * 2246822519u ^ base >> 15) * 2654435761u >> (32 - kTableBits);
  }

  std::array<std::vector<AdaptiveBit>, kOrders> tables_;
  Mixer<kOrders> mixer_;
  Prediction<kOrders> prediction_;
  uint32_t history_ = 0;
};

void learn(TextModel& model, ByteView primer) {
  for (const uint8_t byte : primer) model.byte([&](int place, int) { return byte >> (7 - place) & 1; });
}

}  // namespace

Bytes encode_text(ByteView text, ByteView primer) {
  Bytes out;
  if (text.empty()) return out;
  TextModel model;
  learn(model, primer);
  RansEncoder encoder;
  for (const uint8_t byte : text)
    model.byte([&](int place, int probability) {
      const int bit = byte >> (7 - place) & 1;
      encoder.put_bit(bit, probability);
      return bit;
    });
  encoder.finish(out, kProbabilityBits);
  return out;
}

void decode_text(ByteView data, ByteView primer, std::span<uint8_t> out) {
  if (out.empty()) {
    if (!data.empty()) throw CodecError("coded stream has bytes after its end");
    return;
  }
  TextModel model;
  learn(model, primer);
  RansDecoder decoder(data);
  for (uint8_t& byte : out) byte = model.byte([&](int, int probability) { return decoder.take_bit(probability); });
  decoder.finish();
}

}  // namespace gossamer::codec
