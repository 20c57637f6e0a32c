/// The shell that runs start commands.
package struct Shell: Hashable, Sendable {
    /// Where shells are looked for, the wanted one first. A rootfs without bash has sh.
    package static let places: [SystemText] = ["/bin/bash", "/usr/bin/bash", "/bin/sh", "/usr/bin/sh"]

    package let path: SystemText
    /// What it calls itself.
    package var name: SystemText { path.lastComponent }

    package init(path: SystemText) { self.path = path }
}

/// The text that sources an app's profile scripts and then becomes the app.
package enum ShellScript {
    /// The scripts stand in it one by one, so that neither the order depends on a locale nor a script that changes
    /// the shell's arguments gets in the way.
    package static func text(sourcing scripts: [SystemText], then command: StartCommand, shell: Shell) -> SystemText {
        var bytes: [UInt8] = []
        for script in scripts {
            bytes += Array(". ".utf8) + quoted(script) + Array("\n".utf8)
        }
        bytes += Array("exec ".utf8)
        switch command {
        case .shell(let line):
            // The last word is the name that the shell gives itself in messages.
            let words = [shell.path, "-c", line, shell.name].map(quoted)
            bytes += Array(words.joined(separator: [UInt8(ascii: " ")]))
        case .prefixed(let line, let prefix):
            bytes += Array(prefix.utf8) + [UInt8(ascii: " ")] + quoted(line)
        case .program(let words):
            bytes += Array(words.map(quoted).joined(separator: [UInt8(ascii: " ")]))
        }
        return SystemText(bytes: bytes)
    }

    /// One word for a shell, whatever is in it.
    static func quoted(_ text: SystemText) -> [UInt8] {
        let quote = UInt8(ascii: "'")
        return [quote] + text.bytes.flatMap { $0 == quote ? Array(#"'\''"#.utf8) : [$0] } + [quote]
    }
}
