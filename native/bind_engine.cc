// The engine of native/runtime/ for Python.
#include "bind.h"
#include "runtime/builder.h"
#include "runtime/engine.h"

// What ModelBuilder.close_subgraph returns, for Python to put among the attributes of a node.
struct SubgraphHandle {
  std::shared_ptr<engine::Subgraph> graph;
};

// An attribute as gossamer.artifact.program has them: a number, a text, a tuple of one kind, an array, a subgraph.
static engine::Attribute to_attribute(nb::handle value) {
  if (nb::isinstance<nb::int_>(value)) return nb::cast<int64_t>(value);
  if (nb::isinstance<nb::float_>(value)) return static_cast<float>(nb::cast<double>(value));
  if (nb::isinstance<nb::str>(value)) return nb::cast<std::string>(value);
  if (nb::isinstance<SubgraphHandle>(value)) return nb::cast<SubgraphHandle&>(value).graph;
  if (!nb::isinstance<nb::tuple>(value)) return to_tensor(value);
  const nb::tuple items = nb::borrow<nb::tuple>(value);
  if (items.size() == 0 || nb::isinstance<nb::int_>(items[0])) return nb::cast<std::vector<int64_t>>(items);
  if (nb::isinstance<nb::str>(items[0])) return nb::cast<std::vector<std::string>>(items);
  return nb::cast<std::vector<float>>(items);
}

static std::vector<float> to_floats(nb::handle array) {
  const Memory memory(array, false);
  const auto* values = reinterpret_cast<const float*>(memory.data());
  return {values, values + memory.bytes() / 4};
}

static decltype(engine::Port::shape) to_port_shape(nb::handle sizes) {
  if (sizes.is_none()) return std::nullopt;
  decltype(engine::Port::shape)::value_type shape;
  for (nb::handle size : sizes) {
    if (size.is_none()) shape.emplace_back();
    else if (nb::isinstance<nb::str>(size)) shape.emplace_back(nb::cast<std::string>(size));
    else shape.emplace_back(nb::cast<int64_t>(size));
  }
  return shape;
}

static void bind_builder(nb::module_& m) {
  using engine::ModelBuilder;
  nb::class_<SubgraphHandle>(m, "Subgraph");
  nb::class_<ModelBuilder>(m, "ModelBuilder")
      .def(nb::init<>())
      .def("set_opset", &ModelBuilder::set_opset)
      .def("add_input", [](ModelBuilder& b, const std::string& name, const std::string& dtype, nb::object shape) {
        b.add_input(name, dtype, to_port_shape(shape));
      }, nb::arg("name"), nb::arg("dtype"), nb::arg("shape").none())
      .def("add_dense", [](ModelBuilder& b, const std::string& name, nb::object array, const std::string& note) {
        b.add_dense(name, to_tensor(array), note);
      })
      .def("add_codebook", [](ModelBuilder& b, const std::string& name, nb::object codes, nb::object centroids) {
        const int bytes = nb::cast<int>(codes.attr("dtype").attr("itemsize"));
        const Memory memory(codes, false);
        b.add_codebook(name, to_shape(codes.attr("shape")), bytes, memory.data(), to_floats(centroids));
      })
      .def("add_sparse", [](ModelBuilder& b, const std::string& name, nb::object shape, nb::object positions,
                            nb::object values, nb::object codes) {
        const Memory at(positions, false);
        const auto* first = reinterpret_cast<const int64_t*>(at.data());
        engine::SparseWeight weight{{first, first + at.bytes() / 8}, to_floats(values), 0, nullptr};
        if (!codes.is_none()) {
          const Memory memory(codes, false);
          weight.code_bytes = nb::cast<int>(codes.attr("dtype").attr("itemsize"));
          if (memory.bytes() != static_cast<int64_t>(weight.positions.size()) * weight.code_bytes) {
            throw engine::ModelError("weight '" + name + "': not one index per position");
          }
          weight.codes = copy_of(memory);
        }
        b.add_sparse(name, to_shape(shape), std::move(weight));
      }, nb::arg("name"), nb::arg("shape"), nb::arg("positions"), nb::arg("values"), nb::arg("codes").none())
      .def("add_node", [](ModelBuilder& b, const std::string& op, const std::string& name,
                          const std::vector<std::string>& inputs, const std::vector<std::string>& outputs,
                          nb::dict attributes) {
        std::map<std::string, engine::Attribute, std::less<>> converted;
        for (const auto& [key, value] : attributes) converted.emplace(nb::cast<std::string>(key), to_attribute(value));
        b.add_node(op, name, inputs, outputs, std::move(converted));
      })
      .def("open_subgraph", &ModelBuilder::open_subgraph)
      .def("close_subgraph", [](ModelBuilder& b, const std::vector<std::string>& outputs) {
        return SubgraphHandle{b.close_subgraph(outputs)};
      })
      .def("add_output", &ModelBuilder::add_output);
}

// gossamer.Engine's native half: an engine and NumPy's `empty`, which makes the outputs.
class NativeEngine {
 public:
  NativeEngine(engine::ModelBuilder& builder, int threads, const std::string& isa, bool autotune, bool bf16)
      : engine_(builder.take(), threads, *engine::isa_from_name(isa),
                autotune ? std::make_unique<engine::Tuner>(engine::default_tuner_file()) : nullptr,
                bf16 ? engine::Precision::bf16 : engine::Precision::float32),
        empty_(nb::module_::import_("numpy").attr("empty")),
        array_type_(nb::module_::import_("numpy").attr("ndarray")) {
    const nb::object dtype = nb::module_::import_("numpy").attr("dtype");
    for (const int number : engine_.model().outputs) {
      const engine::Value& value = engine_.model().values[static_cast<size_t>(number)];
      types_.push_back(dtype(engine::dtype_name(value.dtype)));
      names_.push_back(nb::str(value.name.c_str()));
    }
  }

  // Contiguous arrays, one for each input. `repeats`: how often to run on them; more than once only to measure.
  nb::object run(nb::handle arrays, int64_t repeats) {
    std::vector<Memory> inputs = memories(arrays, false);
    check_types(inputs);
    const Call call = prepare(std::move(inputs));
    repeat(call, repeats, {});
    return as_returned(call);
  }

  // The same without a detour through Python. None where that is needed: they are not the inputs as they should be.
  nb::object run_as_they_are(nb::tuple arrays) {
    if (arrays.size() != engine_.model().inputs.size()) return nb::none();
    std::vector<Memory> inputs;
    inputs.reserve(arrays.size());
    for (nb::handle array : arrays) {
      if (array.type().ptr() != array_type_.ptr()) return nb::none();
      Memory memory;
      if (!memory.take(array) || !memory.holds(engine_.model().inputs[inputs.size()].dtype)) return nb::none();
      inputs.push_back(std::move(memory));
    }
    const Call call = prepare(std::move(inputs));
    repeat(call, 1, {});
    return as_returned(call);
  }

  // Nanoseconds of each of the plan's steps (columns) in each of `runs` runs (rows), an array of int64.
  nb::object profile(nb::list arrays, int64_t runs) {
    std::vector<Memory> inputs = memories(arrays, false);
    check_types(inputs);
    const Call call = prepare(std::move(inputs));
    nb::object times = empty_(nb::make_tuple(runs, call.plan->steps.size()), "int64");
    const Memory memory(times, true);
    repeat(call, runs, {reinterpret_cast<int64_t*>(memory.data()), static_cast<size_t>(memory.bytes() / 8)});
    return times;
  }

  nb::list explain(nb::list arrays) {
    nb::list rows;
    for (const engine::Explanation& row : plan_for(memories(arrays, false))->explanations) {
      nb::list inputs;
      for (const engine::Shape& shape : row.inputs) inputs.append(to_tuple(shape));
      rows.append(nb::make_tuple(row.op, row.name, nb::tuple(inputs), to_tuple(row.output), row.layout, row.kernel, row.note,
                                 row.weight_bytes, row.activation_bytes, row.macs));
    }
    return rows;
  }

  // Bytes of working memory of one run, and how many such blocks exist, for inputs of these shapes.
  nb::tuple memory(nb::list arrays) {
    const auto plan = plan_for(memories(arrays, false));
    return nb::make_tuple(plan->arena_bytes, plan->contexts());
  }

  int threads() { return engine_.pool().threads(); }
  int64_t plans_made() const { return engine_.plans_made(); }

 private:
  // One call's plan, and the memory that it reads and writes.
  struct Call {
    std::vector<Memory> inputs, outputs;
    std::shared_ptr<const engine::Plan> plan;
    std::vector<nb::object> results;
    std::vector<const std::byte*> from;
    std::vector<std::byte*> to;
  };

  Call prepare(std::vector<Memory> inputs) {
    Call call{std::move(inputs), {}, nullptr, {}, {}, {}};
    call.plan = plan_for(call.inputs);
    remember_shapes(call.plan);
    for (size_t i = 0; i < types_.size(); ++i) {
      PyObject* shape_and_type[] = {shapes_[i].ptr(), types_[i].ptr()};
      call.results.push_back(nb::steal(PyObject_Vectorcall(empty_.ptr(), shape_and_type, 2, nullptr)));
      if (!call.results.back().is_valid()) throw nb::python_error();
      call.outputs.emplace_back(call.results.back(), true);
    }
    for (const Memory& memory : call.inputs) call.from.push_back(memory.data());
    for (const Memory& memory : call.outputs) call.to.push_back(memory.data());
    return call;
  }

  // The outputs' shapes as tuples, made anew where another plan ran before.
  void remember_shapes(const std::shared_ptr<const engine::Plan>& plan) {
    if (plan == shaped_) return;
    shapes_.clear();
    for (const engine::ValueInfo& output : plan->outputs) shapes_.push_back(to_tuple(output.shape));
    shaped_ = plan;
  }

  // The only output, or a dict of them.
  nb::object as_returned(const Call& call) const {
    if (call.results.size() == 1) return call.results[0];
    nb::dict by_name;
    for (size_t i = 0; i < call.results.size(); ++i) by_name[names_[i]] = call.results[i];
    return by_name;
  }

  // `nanoseconds`: empty, or a place for each step of each run.
  void repeat(const Call& call, int64_t runs, std::span<int64_t> nanoseconds) {
    const size_t steps = nanoseconds.empty() ? 0 : call.plan->steps.size();
    try {
      nb::gil_scoped_release release;
      for (int64_t i = 0; i < runs; ++i) {
        call.plan->run(call.from, call.to, engine_.pool(), nanoseconds.subspan(static_cast<size_t>(i) * steps, steps));
      }
    } catch (const engine::ShapeError& error) {
      raise("InputError", error.what());
    }
  }

  static std::vector<Memory> memories(nb::handle arrays, bool writable) {
    std::vector<Memory> result;
    result.reserve(nb::len(arrays));
    for (nb::handle array : arrays) result.emplace_back(array, writable);
    return result;
  }

  void check_types(const std::vector<Memory>& inputs) const {
    for (size_t i = 0; i < inputs.size(); ++i) {
      const engine::Port& port = engine_.model().inputs[i];
      if (inputs[i].holds(port.dtype)) continue;
      raise("InputError", "input '" + engine_.model().values[static_cast<size_t>(port.value)].name + "' must be of dtype " +
                              engine::dtype_name(port.dtype) + ": convert it with .astype('" + engine::dtype_name(port.dtype) + "')");
    }
  }

  std::shared_ptr<const engine::Plan> plan_for(const std::vector<Memory>& inputs) {
    std::vector<engine::Engine::Given> given;
    for (const Memory& memory : inputs) given.push_back({memory.sizes(), memory.data()});
    if (auto known = engine_.find(given)) return known;
    try {
      nb::gil_scoped_release release;
      return engine_.plan(given);
    } catch (const engine::ShapeError& error) {
      raise("InputError", error.what());
    }
  }

  engine::Engine engine_;
  nb::object empty_, array_type_;
  std::vector<nb::object> types_, names_;  // of the outputs
  std::shared_ptr<const engine::Plan> shaped_;  // whose outputs have shapes_
  std::vector<nb::object> shapes_;
};

void bind_engine(nb::module_& m) {
  nb::register_exception_translator([](const std::exception_ptr& raised, void*) {
    const auto set = [](const char* error, const std::exception& e) {
      PyErr_SetString(nb::module_::import_("gossamer.errors").attr(error).ptr(), e.what());
    };
    try {
      std::rethrow_exception(raised);
    } catch (const engine::Unsupported& error) {
      set("UnsupportedError", error);
    } catch (const engine::ModelError& error) {
      set("FormatError", error);
    } catch (const engine::ShapeError& error) {
      set("FormatError", error);
    }
  });
  bind_builder(m);
  m.def("operators", engine::operator_names);
  nb::class_<NativeEngine>(m, "NativeEngine")
      .def(nb::init<engine::ModelBuilder&, int, const std::string&, bool, bool>(), nb::arg("builder"), nb::arg("threads"),
           nb::arg("isa"), nb::arg("autotune") = false, nb::arg("bf16") = false)
      .def("run", &NativeEngine::run, nb::arg("inputs"), nb::arg("repeats") = 1)
      .def("run_as_they_are", &NativeEngine::run_as_they_are, nb::arg("inputs"))
      .def("profile", &NativeEngine::profile, nb::arg("inputs"), nb::arg("runs"))
      .def("explain", &NativeEngine::explain, nb::arg("inputs"))
      .def("memory", &NativeEngine::memory, nb::arg("inputs"))
      .def_prop_ro("threads", &NativeEngine::threads)
      .def_prop_ro("plans_made", &NativeEngine::plans_made);
}
