// The only file under native/ that knows Python: arrays in, arrays out, C++ exceptions mapped to gossamer.errors.
#include <nanobind/nanobind.h>

namespace nb = nanobind;

// --- codec: entropy coders (native/codec/) ---------------------------------------------------------------------
static void bind_codec(nb::module_& m) { (void)m; }

// --- engine: runtime and kernels (native/runtime/, native/kernels/) ----------------------------------------------
static void bind_engine(nb::module_& m) { (void)m; }

NB_MODULE(_native, m) {
  m.doc() = "gossamer's native codec and engine; use gossamer.Engine and gossamer.artifact, not this module.";
  bind_codec(m);
  bind_engine(m);
}
