// The lattice of the Gaussian kernel, and the cache of those: see gaussian_cache.hpp.

#include "gaussian_cache.hpp"

#include <iterator>
#include <list>
#include <mutex>
#include <thread>
#include <utility>

#include "features.hpp"
#include "threads.hpp"

namespace crf {
namespace {

// Least recently used lattices are dropped beyond a number of them or of bytes. Threads hold the mutex only to copy a
// pointer. Where it stays locked (in the child of a fork) the cache does nothing.
class Cache {
  public:
    struct Key {
        int height, width, bands;
        float w2, sg;
        bool operator==(const Key& other) const {
            return height == other.height && width == other.width && bands == other.bands && w2 == other.w2 &&
                   sg == other.sg;
        }
    };
    using Value = std::shared_ptr<const Lattice<2>>;

    Value get(const Key& key) {
        std::unique_lock<std::mutex> lock(mutex_, std::defer_lock);
        if (!try_lock(lock)) return nullptr;
        for (auto i = entries_.begin(); i != entries_.end(); ++i) {
            if (!(i->first == key)) continue;
            entries_.splice(entries_.begin(), entries_, i);
            return entries_.front().second;
        }
        return nullptr;
    }
    void put(const Key& key, Value value) {
        constexpr size_t kBytes = size_t(128) << 20, kEntries = 16;
        std::list<std::pair<Key, Value>> node, dropped;  // freed when the mutex is unlocked
        node.emplace_back(key, std::move(value));
        if (node.front().second->bytes() > kBytes / 2) return;
        std::unique_lock<std::mutex> lock(mutex_, std::defer_lock);
        if (!try_lock(lock)) return;
        for (const auto& entry : entries_)
            if (entry.first == key) return;
        entries_.splice(entries_.begin(), node);
        size_t bytes = 0;
        for (const auto& entry : entries_) bytes += entry.second->bytes();
        while (bytes > kBytes || entries_.size() > kEntries) {
            bytes -= entries_.back().second->bytes();
            dropped.splice(dropped.begin(), entries_, std::prev(entries_.end()));
        }
    }

  private:
    static bool try_lock(std::unique_lock<std::mutex>& lock) {
        for (int tries = 0; tries < 1000; ++tries) {
            if (lock.try_lock()) return true;
            std::this_thread::yield();
        }
        return false;
    }

    std::mutex mutex_;
    std::list<std::pair<Key, Value>> entries_;
};

Cache& cache() {
    static Cache* const cache = new Cache;  // never destroyed: threads may outlive static destructors
    return *cache;
}

std::shared_ptr<const Lattice<2>> build(const Request& request, const FeatureBounds<2>& bounds, const Tiling& tiling,
                                        Workspace& workspace) {
    auto lattice = std::make_shared<Lattice<2>>();
    LatticeBuilder<2, uint64_t> builder;
    Barrier barrier(tiling.bands);
    builder.begin(bounds, tiling, *lattice);
    run_in_threads(tiling.bands, barrier, [&](int thread) {
        builder.embed(thread, [&](int y, int left, int count, const float** features) {
            read_gaussian(request, y, left, count, workspace.threads[thread]->features, features);
        });
        barrier.wait();
        if (thread == 0) builder.merge();
        barrier.wait();
        builder.link(thread);
        barrier.wait();
        builder.normalise(thread, workspace.ones, request.w2, barrier);
    });
    return lattice;
}

}  // namespace

std::shared_ptr<const Lattice<2>> gaussian_lattice(const Request& request, const Tiling& tiling, Workspace& workspace) {
    const FeatureBounds<2> bounds = gaussian_bounds(request);
    const Cache::Key key{request.height, request.width, tiling.bands, request.w2, request.sg};
    std::shared_ptr<const Lattice<2>> lattice = cache().get(key);
    if (lattice) return lattice;
    lattice = build(request, bounds, tiling, workspace);
    cache().put(key, lattice);
    return lattice;
}

}  // namespace crf
