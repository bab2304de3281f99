// A C interface to libtorch's TCPStore and ProcessGroupGloo.
//
// Every function returns 0, or 1 for "not yet" where that is an answer, or -1 with the reason in `message`, which has room
// for `room` bytes. No exception leaves this file.
//
// Exceptions are caught as `std::exception`: a handler for a class of libtorch refers to that class's type information, and
// with it the program that does not train would need libtorch, although its linker drops all that this file calls.

#include <chrono>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

namespace {

struct Team {
  c10::intrusive_ptr<c10d::Store> store;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> group;
};

int failed(char* message, size_t room, const char* reason) {
  std::strncpy(message, reason, room);
  message[room - 1] = '\0';
  return -1;
}

template <typename Body>
int guarded(char* message, size_t room, Body body) {
  try {
    return body();
  } catch (const std::exception& error) {
    return failed(message, room, error.what());
  } catch (...) {
    return failed(message, room, "an exception of no known type");
  }
}

void sum_up(Team* team, at::Tensor& tensor) {
  std::vector<at::Tensor> tensors{tensor};
  team->group->allreduce(tensors)->wait();
}

// A sum over the processes whose gradient is summed as well. Losses of the processes count by their weights.
struct Sum : torch::autograd::Function<Sum> {
  static at::Tensor forward(
      torch::autograd::AutogradContext* context,
      const at::Tensor& tensor,
      int64_t team,
      double weight) {
    context->saved_data["team"] = team;
    context->saved_data["weight"] = weight;
    auto sum = tensor.detach().clone(at::MemoryFormat::Contiguous);
    sum_up(reinterpret_cast<Team*>(team), sum);
    return sum;
  }

  static torch::autograd::variable_list backward(
      torch::autograd::AutogradContext* context,
      torch::autograd::variable_list gradients) {
    auto* team = reinterpret_cast<Team*>(context->saved_data["team"].toInt());
    const double weight = context->saved_data["weight"].toDouble();
    auto gradient = gradients[0].mul(weight).contiguous();
    sum_up(team, gradient);
    return {gradient.div_(weight), at::Tensor(), at::Tensor()};
  }
};

} // namespace

extern "C" {

struct gp_place {
  const char* host;
  // Keys of one team begin with it.
  const char* prefix;
  // The network interface, or an empty string.
  const char* interface_name;
  // The address that this process listens at, or an empty string; `interface_name` goes before it.
  const char* own_address;
  int64_t timeout_ms;
  int rank;
  int size;
  uint16_t port;
  // Whether this process runs the store's server.
  uint8_t serves;
};

int gp_open(const gp_place* place, void** out, char* message, size_t room) {
  return guarded(message, room, [&] {
    const std::chrono::milliseconds timeout(place->timeout_ms);
    c10d::TCPStoreOptions options;
    options.port = place->port;
    options.isServer = place->serves != 0;
    options.numWorkers = place->size;
    options.waitWorkers = false;
    options.timeout = timeout;
    auto tcp = c10::make_intrusive<c10d::TCPStore>(place->host, options);
    auto team = std::make_unique<Team>();
    team->store = c10::make_intrusive<c10d::PrefixStore>(place->prefix, tcp);
    team->store->setTimeout(timeout);
    auto group = c10d::ProcessGroupGloo::Options::create(timeout);
    const std::string interface_name = place->interface_name;
    const std::string own_address = place->own_address;
    // `createDefaultDevice` does not read the variable for the interface.
    if (!interface_name.empty()) {
      group->devices.push_back(c10d::ProcessGroupGloo::createDeviceForInterface(interface_name));
    } else if (!own_address.empty()) {
      group->devices.push_back(c10d::ProcessGroupGloo::createDeviceForHostname(own_address));
    } else {
      group->devices.push_back(c10d::ProcessGroupGloo::createDefaultDevice());
    }
    // One all-reduce at a time is all that a training has.
    group->threads = 1;
    team->group = c10::make_intrusive<c10d::ProcessGroupGloo>(team->store, place->rank, place->size, group);
    *out = team.release();
    return 0;
  });
}

void gp_close(void* team) {
  delete static_cast<Team*>(team);
}

int gp_sum(void* team, void* tensor, char* message, size_t room) {
  return guarded(message, room, [&] {
    sum_up(static_cast<Team*>(team), *static_cast<at::Tensor*>(tensor));
    return 0;
  });
}

// A new tensor, the sum of `tensor` over all processes; see `Sum`. The team must live until the backward pass is over.
int gp_differentiable_sum(void* team, void* tensor, double weight, void** out, char* message, size_t room) {
  return guarded(message, room, [&] {
    const auto& own = *static_cast<at::Tensor*>(tensor);
    *out = new at::Tensor(Sum::apply(own, reinterpret_cast<int64_t>(team), weight));
    return 0;
  });
}

int gp_broadcast(void* team, void* tensor, int root, char* message, size_t room) {
  return guarded(message, room, [&] {
    std::vector<at::Tensor> tensors{*static_cast<at::Tensor*>(tensor)};
    c10d::BroadcastOptions options;
    options.rootRank = root;
    static_cast<Team*>(team)->group->broadcast(tensors, options)->wait();
    return 0;
  });
}

int gp_set(void* team, const char* key, const uint8_t* bytes, size_t length, char* message, size_t room) {
  return guarded(message, room, [&] {
    static_cast<Team*>(team)->store->set(key, std::vector<uint8_t>(bytes, bytes + length));
    return 0;
  });
}

// Waits for a key, for at most `timeout_ms`. `Store::wait` writes two warnings whenever it times out, and a wait lasts as
// long as the first process measures.
int gp_wait(void* team, const char* key, int64_t timeout_ms, char* message, size_t room) {
  return guarded(message, room, [&] {
    using clock = std::chrono::steady_clock;
    const auto end = clock::now() + std::chrono::milliseconds(timeout_ms);
    while (!static_cast<Team*>(team)->store->check({key})) {
      if (clock::now() >= end) {
        return 1;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return 0;
  });
}

// Copies the value of a key that is set into `bytes`, if it fits, and its length into `length`.
int gp_get(void* team, const char* key, uint8_t* bytes, size_t* length, char* message, size_t room) {
  return guarded(message, room, [&] {
    const auto value = static_cast<Team*>(team)->store->get(key);
    if (value.size() <= *length) {
      std::memcpy(bytes, value.data(), value.size());
    }
    *length = value.size();
    return 0;
  });
}

int gp_add(void* team, const char* key, int64_t amount, int64_t* sum, char* message, size_t room) {
  return guarded(message, room, [&] {
    *sum = static_cast<Team*>(team)->store->add(key, amount);
    return 0;
  });
}

} // extern "C"
