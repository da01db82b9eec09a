# Completion of heroctl(1) for fish: heroctl completion fish

complete -c heroctl -f -a '(heroctl completion words -- (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'
complete -c heroctl -n '__fish_seen_subcommand_from check' -F
