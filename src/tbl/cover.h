/* Rare branches of the core that the simulator must have been through (core/cover.h).
 * X(name, what it means) */
#define COVER_MARKS(X)                                                                             \
    X(probe_sticky, "a probe is refused: the leader was heard of late")                            \
    X(probe_removed, "a probe is refused: its sender was voted out")                               \
    X(probe_outrun, "a prober tries again with a round above")                                     \
    X(probe_learns, "a prober that is far behind learns first")                                    \
    X(prepare_outdated, "a candidate learns that it was voted out")                                \
    X(prepare_put_off, "a promise is put off: the disk is stalled")                                \
    X(promise_paged, "a promise comes in pages")                                                   \
    X(promise_ahead, "a promise is not used before its sender's chosen slots are learnt")          \
    X(nack_stops, "a candidate or leader stops: another has a higher ballot")                      \
    X(hint_used, "an election begins because the leader's connection broke")                       \
    X(transfer_taken, "one leads because the leader said so")                                      \
    X(stream_resumed, "votes from before a restart count for the same ballot")                     \
    X(vote_gap, "a slot comes that leaves a gap")                                                  \
    X(vote_no_room, "a slot is beyond what an acceptor holds")                                     \
    X(vote_busy, "a slot is not taken: disk or state store lag")                                   \
    X(vote_full, "a slot is not taken: there is no space")                                         \
    X(watermark_below_start, "a watermark is not believed: slots before the ballot are missing")   \
    X(recovered_value, "a new leader proposes a vote it found")                                    \
    X(recovered_config, "a new leader finds a configuration that may be chosen")                   \
    X(recover_waits, "phase 1 waits for voters who know")                                          \
    X(recover_fetched, "a value known by its digest is fetched")                                   \
    X(renewed, "a leader does phase 1 with the voters of a new configuration")                     \
    X(renewed_found, "and finds votes above it")                                                   \
    X(resigned, "a leader that was voted out hands over")                                          \
    X(proposals_lost, "proposals end undecided: leadership is lost")                               \
    X(peer_rewound, "a leader sends again what was lost")                                          \
    X(peer_stalled, "and one slot at a time")                                                      \
    X(peer_too_far, "a member needs slots that are not in memory")                                 \
    X(quorum_unheard, "a leader stops: no quorum was heard")                                       \
    X(slow_leader, "a leader with a slow disk hands over")                                         \
    X(full_leader, "a leader with a full disk hands over")                                         \
    X(heir_silent, "a transfer comes to nothing")                                                  \
    X(space_low, "a proposal is refused: no quorum has space")                                     \
    X(restored_gap, "the log has lost a slot; what follows is kept")                               \
    X(restored_beyond, "and what does not fit behind the gap is doubted")                          \
    X(restored_damaged, "a vote is known, its value is lost")                                      \
    X(restored_lost, "votes may be missing")                                                       \
    X(restored_amnesic, "promises may be missing")                                                 \
    X(recalled_votes, "others saw votes that the log has lost")                                    \
    X(recall_silent, "not all told what they saw in time")                                         \
    X(learn_missed, "a request for slots brought nothing")                                         \
    X(learn_from_log, "slots are served from the log")                                             \
    X(snapshot_wanted, "slots are in nobody's log: the state is fetched")                          \
    X(snapshot_taken, "and taken")                                                                 \
    X(snapshot_failed, "or not")                                                                   \
    X(read_waits, "a read waits until enough is applied")                                          \
    X(reads_refused, "reads are refused: leadership is lost")                                      \
    X(outbox_waits, "a message waits for the disk")                                                \
    X(apply_waits, "a chosen slot waits for this replica's own record")
