/* The members of the newest configuration known to be chosen, and what makes a quorum of them. */
#include "core/paxos_state.h"

struct paxos_peer *paxos_peer_of(struct paxos *paxos, uint32_t node, uint32_t born) {
    for (uint32_t i = 0; i < paxos->peer_count; i++)
        if (paxos->peers[i].node == node && paxos->peers[i].born == born)
            return &paxos->peers[i];
    return NULL;
}

bool paxos_is_voter(const struct paxos *paxos) {
    return paxos->self != NULL && paxos->self->voter;
}

bool paxos_is_alone(const struct paxos *paxos) {
    return paxos_is_voter(paxos) && paxos->peer_count == 1;
}

bool paxos_has_quorum(const struct paxos *paxos,
                      bool (*has)(const struct paxos *, const struct paxos_peer *)) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < paxos->peer_count; i++)
        count += paxos->peers[i].voter && has(paxos, &paxos->peers[i]);
    return count >= paxos->quorum;
}

/* Who stays keeps what is known of it. */
void paxos_adopt(struct paxos *paxos, const struct paxos_config *config) {
    static struct paxos_peer none;
    struct paxos_peer peers[PAXOS_MEMBERS_MAX];
    uint32_t heir_node = paxos->heir != NULL ? paxos->heir->node : 0;
    ASSERT(config->count <= PAXOS_MEMBERS_MAX);
    for (uint32_t i = 0; i < config->count; i++) {
        const struct paxos_member *member = &config->members[i];
        const struct paxos_peer *before = paxos_peer_of(paxos, member->node, member->born);
        peers[i] = before != NULL ? *before : none;
        if (before == NULL && paxos->role == PAXOS_LEADING)
            paxos_peer_begin(paxos, &peers[i]);
        peers[i].node = member->node;
        peers[i].born = member->born;
        peers[i].voter = member->voter;
    }
    memcpy(paxos->peers, peers, config->count * sizeof *peers);
    paxos->peer_count = config->count;
    paxos->config = *config;
    paxos->quorum = paxos_config_voters(config) / 2 + 1;
    paxos->self = paxos_peer_of(paxos, paxos->options.node, paxos->options.born);
    paxos->heir = NULL;
    for (uint32_t i = 0; heir_node != 0 && i < paxos->peer_count; i++)
        if (paxos->peers[i].node == heir_node && paxos->peers[i].voter)
            paxos->heir = &paxos->peers[i];
}
