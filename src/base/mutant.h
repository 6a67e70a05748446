/* The simulator's proof: each mutant is a classical bug that it must catch (doc/sim.md has the
 * table). A build with -DQUERN_MUTANT=n has bug n; every other build has none. */
#ifndef QUERN_BASE_MUTANT_H
#define QUERN_BASE_MUTANT_H

#ifndef QUERN_MUTANT
#define QUERN_MUTANT 0
#endif

#define MUTANT(number) (QUERN_MUTANT == (number))

#endif
