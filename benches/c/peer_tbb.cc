/* oneTBB's concurrent_hash_map. An accessor locks the one entity it found, so that none can be held for many
 * look-ups; it cannot be enumerated while others erase. */
#include "peers.h"
#include <tbb/concurrent_hash_map.h>
#define PEER rtm_peer_tbb

namespace {

struct Hash {
    static size_t hash(uint64_t key) { return hash_of(key); }
    static bool equal(uint64_t one, uint64_t other) { return one == other; }
};

using Map = tbb::concurrent_hash_map<uint64_t, entity, Hash>;
Map *map;

inline void peer_attach() {}
void peer_rest() {}
inline void peer_enter() {}
inline void peer_leave() {}
void peer_open(size_t expected) { map = new Map(expected); }

inline uint64_t peer_find(uint64_t key) {
    Map::const_accessor found;
    return map->find(found, key) ? found->second.payload[1] : NONE;
}

inline uint64_t peer_insert(uint64_t id) {
    uint64_t key = fresh_key();
    entity value;
    entity_init(&value, id);
    map->emplace(key, value);
    return key;
}

inline int peer_remove(uint64_t key) { return map->erase(key); }

uint64_t peer_count(uint64_t *sum) {
    uint64_t count = 0;
    *sum = 0;
    for (const auto &each : *map) {
        count++;
        *sum += each.second.payload[1];
    }
    return count;
}

void peer_settle() {}

} // namespace

#include "peers_loops.h"
