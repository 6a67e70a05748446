/* Configurations of a group, and their bytes. */
#include "core/paxos_config.h"

#include <assert.h>

#include "base/assert.h"

#define CONFIG_VERSION 1u

struct config_head {
    uint32_t version;
    uint32_t count;
};

struct config_member {
    uint32_t node;
    uint32_t born;
    uint32_t voter;
};

static_assert(sizeof(struct config_head) == 8 && sizeof(struct config_member) == 12, "on disk");
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "structs are copied as they are");

uint32_t paxos_config_voters(const struct paxos_config *config) {
    uint32_t voters = 0;
    for (uint32_t i = 0; i < config->count; i++)
        voters += config->members[i].voter;
    return voters;
}

const struct paxos_member *paxos_config_find(const struct paxos_config *config, uint32_t node,
                                             uint32_t born) {
    for (uint32_t i = 0; i < config->count; i++)
        if (config->members[i].node == node && config->members[i].born == born)
            return &config->members[i];
    return NULL;
}

bool paxos_config_is_sane(const struct paxos_config *config) {
    if (config->count > PAXOS_MEMBERS_MAX)
        return false;
    for (uint32_t i = 0; i < config->count; i++) {
        const struct paxos_member *member = &config->members[i];
        if (member->node == 0 || member->born == 0 ||
            paxos_config_find(config, member->node, member->born) != member)
            return false;
    }
    uint32_t voters = paxos_config_voters(config);
    return voters > 0 && voters <= PAXOS_VOTERS_MAX;
}

/* Voters of one that are not voters of the other, or NULL when strangers are among them. */
static uint32_t missing(const struct paxos_config *from, const struct paxos_config *to,
                        bool *ret_strange) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < from->count; i++) {
        const struct paxos_member *member = &from->members[i];
        const struct paxos_member *other = paxos_config_find(to, member->node, member->born);
        if (!member->voter || (other != NULL && other->voter))
            continue;
        count++;
        *ret_strange |= other == NULL;
    }
    return count;
}

bool paxos_config_is_step(const struct paxos_config *from, const struct paxos_config *to) {
    bool gone = false, strange = false;
    uint32_t leaving = missing(from, to, &gone), coming = missing(to, from, &strange);
    return paxos_config_is_sane(to) && leaving <= 1 && coming <= 1 && !strange;
}

struct paxos_value *paxos_config_encode(const struct paxos_config *config) {
    ASSERT(paxos_config_is_sane(config));
    struct config_head head = {CONFIG_VERSION, config->count};
    struct paxos_value *value =
        paxos_value_new(sizeof head + config->count * sizeof(struct config_member));
    memcpy(value->data, &head, sizeof head);
    for (uint32_t i = 0; i < config->count; i++) {
        struct config_member member = {config->members[i].node, config->members[i].born,
                                       config->members[i].voter};
        memcpy(value->data + sizeof head + i * sizeof member, &member, sizeof member);
    }
    value->kind = PAXOS_CONFIG;
    paxos_value_seal(value);
    return value;
}

int paxos_config_decode(struct span bytes, uint64_t slot, struct paxos_config *ret_config,
                        struct err *err) {
    struct config_head head;
    if (bytes.size < sizeof head)
        return err_set(err, ERR_CORRUPT, "a configuration of %zu bytes", bytes.size);
    memcpy(&head, bytes.data, sizeof head);
    if (head.version != CONFIG_VERSION || head.count > PAXOS_MEMBERS_MAX ||
        bytes.size != sizeof head + head.count * sizeof(struct config_member))
        return err_set(err, ERR_CORRUPT, "a configuration of version %u, %u members", head.version,
                       head.count);
    struct paxos_config config = {.slot = slot, .count = head.count};
    for (uint32_t i = 0; i < head.count; i++) {
        struct config_member member;
        memcpy(&member, bytes.data + sizeof head + i * sizeof member, sizeof member);
        if (member.voter > 1)
            return err_set(err, ERR_CORRUPT, "a member that is no voter and no learner");
        config.members[i] = (struct paxos_member){member.node, member.born, member.voter};
    }
    if (!paxos_config_is_sane(&config))
        return err_set(err, ERR_CORRUPT, "a configuration that makes no sense");
    *ret_config = config;
    return 0;
}
