/* The next step towards a group's wanted members. */
#include "core/member.h"

#include "base/assert.h"
#include "core/paxos.h" /* PAXOS_WINDOW */

static const struct member_node *node_of(const struct member_view *view, uint32_t node) {
    for (uint32_t i = 0; i < view->node_count; i++)
        if (view->nodes[i].node == node)
            return &view->nodes[i];
    return NULL;
}

/* Its node has another replica by now, or none. */
static bool is_gone(const struct member_view *view, const struct paxos_member *member) {
    const struct member_node *node = node_of(view, member->node);
    return node != NULL && node->known && node->born != member->born;
}

static bool is_unknown(const struct member_view *view, uint32_t node) {
    const struct member_node *known = node_of(view, node);
    return known != NULL && known->wanted && !known->known;
}

static bool is_wanted(const struct member_view *view, const struct paxos_member *member) {
    const struct member_node *node = node_of(view, member->node);
    return node != NULL && node->wanted && !is_gone(view, member);
}

static bool has_voter(const struct member_view *view, uint32_t node) {
    for (uint32_t i = 0; i < view->config->count; i++) {
        const struct paxos_member *member = &view->config->members[i];
        if (member->node == node && member->voter && !is_gone(view, member))
            return true;
    }
    return false;
}

/* A voter to do without: one that is gone rather than one that works, the leader last. Its index,
 * or count. */
static uint32_t surplus_voter(const struct member_view *view) {
    const struct paxos_config *config = view->config;
    uint32_t best = config->count;
    int best_rank = 3;
    for (uint32_t i = 0; i < config->count; i++) {
        const struct paxos_member *member = &config->members[i];
        if (!member->voter || is_wanted(view, member))
            continue;
        int rank = is_gone(view, member) ? 0 : member->node != view->leader ? 1 : 2;
        if (rank < best_rank) {
            best = i;
            best_rank = rank;
        }
    }
    return best;
}

static void remove_member(struct paxos_config *config, uint32_t index) {
    ASSERT(index < config->count);
    config->count--;
    for (uint32_t i = index; i < config->count; i++)
        config->members[i] = config->members[i + 1];
}

/* A voter that stays and has everything, to lead instead. */
static void transfer(const struct member_view *view, struct member_step *step) {
    uint64_t best_lag = UINT64_MAX;
    for (uint32_t i = 0; i < view->config->count; i++) {
        const struct paxos_member *member = &view->config->members[i];
        if (!member->voter || member->node == view->leader || !is_wanted(view, member) ||
            view->lags[i] >= best_lag)
            continue;
        best_lag = view->lags[i];
        step->action = MEMBER_TRANSFER;
        step->node = member->node;
    }
}

static bool leads(const struct member_view *view, const struct paxos_member *member) {
    return member->voter && member->node == view->leader && !is_gone(view, member);
}

/* Without the member at index, unless it leads. */
static void change_without(const struct member_view *view, uint32_t index,
                           struct member_step *step) {
    const struct paxos_member *member = &view->config->members[index];
    if (leads(view, member)) {
        transfer(view, step);
        return;
    }
    step->action = MEMBER_CHANGE;
    remove_member(&step->config, index);
}

/* The learner becomes a voter, in place of a surplus one if there is one; the leader goes later. */
static void promote(const struct member_view *view, uint32_t index, struct member_step *step) {
    uint32_t surplus = surplus_voter(view);
    step->action = MEMBER_CHANGE;
    step->config.members[index].voter = true;
    if (surplus < view->config->count && !leads(view, &view->config->members[surplus]))
        remove_member(&step->config, surplus);
}

/* A learner that is wanted and has caught up; or one that is not wanted. False when neither. */
static bool plan_learners(const struct member_view *view, struct member_step *step) {
    const struct paxos_config *config = view->config;
    for (uint32_t i = 0; i < config->count; i++) {
        const struct paxos_member *member = &config->members[i];
        if (member->voter || is_unknown(view, member->node))
            continue; /* what its node has decides whether it stays */
        bool wanted = is_wanted(view, member) && !has_voter(view, member->node);
        if (wanted && view->lags[i] > PAXOS_WINDOW)
            continue; /* it learns */
        if (wanted)
            promote(view, i, step);
        else
            change_without(view, i, step);
        return true;
    }
    return false;
}

static bool is_member(const struct member_view *view, const struct member_node *node) {
    return paxos_config_find(view->config, node->node, node->born) != NULL;
}

/* A wanted node without a voter gets a replica, and its replica is taken in. */
static bool plan_newcomers(const struct member_view *view, struct member_step *step) {
    for (uint32_t i = 0; i < view->node_count; i++) {
        const struct member_node *node = &view->nodes[i];
        if (!node->wanted || !node->known || has_voter(view, node->node))
            continue;
        if (node->born == 0) {
            step->action = MEMBER_MAKE;
            step->node = node->node;
            return true;
        }
        if (is_member(view, node) || view->config->count == PAXOS_MEMBERS_MAX)
            continue;
        step->action = MEMBER_CHANGE;
        step->config.members[step->config.count++] =
            (struct paxos_member){node->node, node->born, false};
        return true;
    }
    return false;
}

static uint32_t wanted_voters(const struct member_view *view) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < view->node_count; i++)
        count += view->nodes[i].wanted && has_voter(view, view->nodes[i].node);
    return count;
}

static uint32_t wanted_nodes(const struct member_view *view) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < view->node_count; i++)
        count += view->nodes[i].wanted;
    return count;
}

/* Voters are exchanged for newcomers; without those they go only once all that are wanted are
 * there. */
static bool plan_leavers(const struct member_view *view, struct member_step *step) {
    uint32_t surplus = surplus_voter(view);
    if (surplus == view->config->count || wanted_voters(view) < wanted_nodes(view))
        return false;
    change_without(view, surplus, step);
    return step->action != MEMBER_NOTHING;
}

static void plan_drops(const struct member_view *view, struct member_step *step) {
    for (uint32_t i = 0; i < view->node_count; i++) {
        const struct member_node *node = &view->nodes[i];
        if (!node->known || node->born == 0 || node->wanted || is_member(view, node))
            continue;
        step->action = MEMBER_DROP;
        step->node = node->node;
        step->born = node->born;
        return;
    }
}

void member_plan(const struct member_view *view, struct member_step *ret_step) {
    *ret_step = (struct member_step){.action = MEMBER_NOTHING, .config = *view->config};
    if (!view->settled)
        return;
    if (plan_learners(view, ret_step) || plan_newcomers(view, ret_step) ||
        plan_leavers(view, ret_step))
        return;
    plan_drops(view, ret_step);
}

bool member_is_done(const struct member_view *view) {
    for (uint32_t i = 0; i < view->config->count; i++)
        if (!view->config->members[i].voter || !is_wanted(view, &view->config->members[i]))
            return false;
    return wanted_voters(view) == wanted_nodes(view);
}
