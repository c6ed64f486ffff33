
# The names of stored files.
function __palk_stored
    set -l line (commandline -opc)
    set -l options
    for i in (seq (count $line))
        switch $line[$i]
            case --server --user --profile
                set -a options $line[$i] $line[(math $i + 1)]
            case '--server=*' '--user=*' '--profile=*'
                set -a options $line[$i]
        end
    end
    # No stored name has a backslash in it.
    command palk client $options complete-stored -- (commandline -ct | string replace -a '\\' '') 2>/dev/null
end

