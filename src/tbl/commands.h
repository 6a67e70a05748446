/* Every subcommand, once, in the order of `quern help`: X(name, function, group, summary).
 * function is int function(int argc, char **argv), argv[0] being the name; it returns an exit status. */
X(help, cli_help, OTHER, "this list, or the manual of one command")
