/* The groups as a node sees them: this one, or over rpc another. */
#include <string.h>

#include "base/cleanup.h"
#include "meta/engine.h"
#include "meta/request.h"

static void group_status(struct meta *meta, uint32_t number, struct meta_group_status *ret_status) {
    const struct group *group = &meta->groups[number];
    *ret_status = (struct meta_group_status){.group = number};
    if (!meta_hosts(meta, number))
        return;
    struct paxos_config config = meta_config(meta, number);
    ret_status->hosted = true;
    ret_status->damaged = damage_is_known(meta);
    ret_status->votes = atomic_load(&group->votes);
    ret_status->leader = atomic_load(&group->leader);
    ret_status->leads = atomic_load(&group->leads);
    ret_status->ballot_round = atomic_load(&group->ballot_round);
    ret_status->applied_upto = atomic_load(&group->applied);
    ret_status->chosen_upto = atomic_load(&group->chosen_upto);
    if (ret_status->chosen_upto < ret_status->applied_upto) /* not published yet */
        ret_status->chosen_upto = ret_status->applied_upto;
    for (uint32_t i = 0; i < config.count; i++)
        if (config.members[i].voter && ret_status->voter_count < META_VOTERS_MAX)
            ret_status->voters[ret_status->voter_count++] = config.members[i].node;
}

unsigned meta_status(struct meta *meta, struct meta_group_status *ret_groups, unsigned count) {
    unsigned g = 0;
    for (; g < meta->group_count && g < count; g++)
        group_status(meta, g, &ret_groups[g]);
    return g;
}

int meta_remote_status(struct rpc_client *rpc, uint32_t node, uint64_t deadline_ns,
                       struct meta_group_status *ret_groups, unsigned room, unsigned *ret_count,
                       struct err *err) {
    _cleanup_(buf_finip) struct buf rows = BUF_INIT;
    int r = rpc_call(rpc, node, RPC_META_STATUS, (struct span){0}, true, deadline_ns, &rows, err);
    if (r != 0)
        return r;
    if (rows.size % sizeof(struct meta_status_row) != 0)
        return err_set(err, ERR_PROTOCOL, "node %u: a status that is cut off", node);
    unsigned count = (unsigned)(rows.size / sizeof(struct meta_status_row));
    count = count < room ? count : room;
    for (unsigned i = 0; i < count; i++) {
        struct meta_status_row row;
        memcpy(&row, rows.data + i * sizeof row, sizeof row);
        ret_groups[i] = (struct meta_group_status){.group = row.group,
                                                   .leader = row.leader,
                                                   .leads = row.leads != 0,
                                                   .hosted = row.hosted != 0,
                                                   .damaged = row.hosted == 2,
                                                   .votes = row.votes != 0,
                                                   .ballot_round = row.ballot_round,
                                                   .chosen_upto = row.chosen_upto,
                                                   .applied_upto = row.applied_upto};
        uint32_t voters = row.voter_count < META_VOTERS_MAX ? row.voter_count : META_VOTERS_MAX;
        ret_groups[i].voter_count = voters;
        memcpy(ret_groups[i].voters, row.voters, voters * sizeof *row.voters);
    }
    *ret_count = count;
    return 0;
}
