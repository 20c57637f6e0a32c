/// What a registry wants to know of who asks (RFC 9110, section 11.6.1).
struct Challenge: Hashable, Sendable {
    /// In lower case: `basic`, `bearer`.
    let scheme: String
    /// Names in lower case.
    let parameters: [String: String]

    /// All challenges of one header. What can't be read is left out.
    static func parse(_ header: String) -> [Challenge] {
        var challenges: [Challenge] = []
        var scheme: String?
        var parameters: [String: String] = [:]
        func end() {
            if let scheme { challenges.append(Challenge(scheme: scheme, parameters: parameters)) }
            parameters = [:]
        }
        var rest = Substring(header.prefix(8192))
        while true {
            rest = rest.drop { $0 == " " || $0 == "," || $0 == "\t" }
            let word = rest.prefix { $0 != " " && $0 != "," && $0 != "=" && $0 != "\t" }
            guard !word.isEmpty else { break }
            rest = rest.dropFirst(word.count)
            guard rest.first == "=" else {
                end()
                scheme = word.lowercased()
                continue
            }
            rest = rest.dropFirst()
            parameters[word.lowercased()] = value(&rest)
        }
        end()
        return challenges
    }

    private static func value(_ rest: inout Substring) -> String {
        guard rest.first == "\"" else {
            let word = rest.prefix { $0 != "," && $0 != " " }
            rest = rest.dropFirst(word.count)
            return String(word)
        }
        rest = rest.dropFirst()
        var text = ""
        while let next = rest.popFirst(), next != "\"" {
            if next == "\\" { text += rest.popFirst().map(String.init) ?? "" } else { text.append(next) }
        }
        return text
    }
}
