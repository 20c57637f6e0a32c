/// The arguments of dumb-init 1.2. Existing pods start with dumb-init, so images have `launch` under its name.
package struct DumbInitOptions: Hashable, Sendable {
    /// Whether signals go to the direct child alone, which then stays in this session.
    package var isSingleChild = false
    package var isVerbose = false
    /// By the number of a received signal, the number of the signal that is forwarded in its place; 0 for none.
    package var rewrites: [Int32: Int32] = [:]
    package var command: [SystemText] = []

    package init() {}

    /// The last signal that can be rewritten; the first is 1.
    static let lastSignal: Int32 = 31
    private static let failure: Int32 = 1
    /// The exit code if the program can't be executed.
    static let executionFailure: Int32 = 2

    static func parse(_ arguments: [SystemText], environment: Environment) throws(LauncherError) -> Invocation {
        var options = DumbInitOptions()
        var words = arguments.dropFirst()
        while let word = words.first?.string, word.hasPrefix("-"), word != "-" {
            words.removeFirst()
            if word == "--" { break }
            let text: String? =
                if word.hasPrefix("--") {
                    try options.long(word.dropFirst(2), &words)
                } else {
                    try options.short(word.dropFirst(), &words)
                }
            if let text { return .text(text) }
        }
        guard !words.isEmpty else {
            throw .usage(
                "Usage: dumb-init [option] program [args]\nTry dumb-init --help for full usage.", exitCode: failure)
        }
        if environment["DUMB_INIT_DEBUG"] == "1" { options.isVerbose = true }
        if environment["DUMB_INIT_SETSID"] == "0" { options.isSingleChild = true }
        options.command = Array(words)
        return .dumbInit(options)
    }

    /// Takes a cluster of one-letter options.
    ///
    /// - Returns: a text to print instead of starting anything, or nil.
    private mutating func short(
        _ cluster: Substring, _ words: inout ArraySlice<SystemText>
    ) throws(LauncherError) -> String? {
        var cluster = cluster
        while let letter = cluster.popFirst() {
            switch letter {
            case "h": return Self.help
            case "V": return Self.version
            case "v": isVerbose = true
            case "c": isSingleChild = true
            case "r":
                try rewrite(cluster.isEmpty ? words.popFirst()?.string : String(cluster))
                return nil
            default: throw .usage("invalid option -- '\(letter)'", exitCode: Self.failure)
            }
        }
        return nil
    }

    /// Takes a long option or an unambiguous beginning of one, as getopt_long(3) does.
    ///
    /// - Returns: a text to print instead of starting anything, or nil.
    private mutating func long(
        _ option: Substring, _ words: inout ArraySlice<SystemText>
    ) throws(LauncherError) -> String? {
        let parts = option.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        let names = ["help", "single-child", "rewrite", "verbose", "version"]
        let matches = names.contains(String(parts[0])) ? [String(parts[0])] : names.filter { $0.hasPrefix(parts[0]) }
        guard matches.count == 1, parts.count == 1 || matches == ["rewrite"] else {
            throw .usage("unrecognized option '--\(option)'", exitCode: Self.failure)
        }
        switch matches[0] {
        case "help": return Self.help
        case "version": return Self.version
        case "verbose": isVerbose = true
        case "single-child": isSingleChild = true
        default: try rewrite(parts.count == 2 ? String(parts[1]) : words.popFirst()?.string)
        }
        return nil
    }

    private mutating func rewrite(_ text: String?) throws(LauncherError) {
        let numbers = (text ?? "").split(separator: ":", omittingEmptySubsequences: false).map { Int32($0) }
        guard numbers.count == 2, let signal = numbers[0], let replacement = numbers[1],
            (1...Self.lastSignal).contains(signal), (0...Self.lastSignal).contains(replacement)
        else {
            throw .usage(
                "Usage: -r option takes <signum>:<signum>, where <signum> is between 1 and \(Self.lastSignal).\n"
                    + "This option can be specified multiple times.\nUse --help for full usage.",
                exitCode: Self.failure)
        }
        rewrites[signal] = replacement
    }

    private static let version = "dumb-init of Cistern's launch\n"
    private static let help = """
        Usage: dumb-init [option] program [args]

        Starts the program in a session of its own, forwards signals to its process group, reaps orphans and exits
        with the program's status.

           -c, --single-child   Signal only the program itself and leave it in this session (or DUMB_INIT_SETSID=0).
           -r, --rewrite s:r    Forward signal r when s is received, nothing when r is 0. May be repeated.
           -v, --verbose        Say what happens on stderr (or DUMB_INIT_DEBUG=1).
           -h, --help           Print this and exit.
           -V, --version        Print what this is and exit.

        """
}
