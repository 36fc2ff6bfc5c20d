// The Python module: bind_codec.cc, bind_engine.cc and bind_kernels.cc, the only files under native/ that know Python.
// Arrays in, arrays out, C++ exceptions mapped to gossamer.errors.
#include "bind.h"

NB_MODULE(_native, m) {
  m.doc() = "gossamer's native codec and engine; use gossamer.Engine and gossamer.artifact, not this module.";
  bind_codec(m);
  bind_engine(m);
  bind_kernels(m);
}
