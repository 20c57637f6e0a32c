/// A process type of an app and the shell command that starts it.
package struct ProcessCommand: Hashable, Sendable {
    package let type: String
    package let command: String

    package init(type: String, command: String) {
        self.type = type
        self.command = command
    }

    /// Letters, digits, `-`, `_` and `.`, at most 255.
    static func isType(_ text: some StringProtocol) -> Bool {
        (1...255).contains(text.utf8.count)
            && text.utf8.allSatisfy {
                switch $0 {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
                    true
                default: false
                }
            }
    }
}
