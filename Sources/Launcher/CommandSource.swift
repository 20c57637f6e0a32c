/// A place where a process type's command may be written, and what was found there.
package struct CommandSource: Hashable, Sendable {
    package enum Content: Hashable, Sendable {
        case missing
        /// Why it can't be read, without its text.
        case unreadable(String)
        case processes([ProcessCommand])
    }

    /// Its path, for messages.
    package let place: String
    package let content: Content

    package init(place: String, content: Content) {
        self.place = place
        self.content = content
    }

    package func command(_ type: String) -> String? {
        guard case .processes(let processes) = content else { return nil }
        return processes.last { $0.type == type }?.command
    }

    /// Why it has no command for that type.
    package func remark(_ type: String) -> String {
        switch content {
        case .missing: return "\(place) is missing"
        case .unreadable(let reason): return "\(place) is not understood: \(reason)"
        case .processes(let processes):
            let types = processes.map(\.type).filter { $0 != type }
            return types.isEmpty ? "\(place) has none" : "\(place) has only \(types.joined(separator: ", "))"
        }
    }
}
