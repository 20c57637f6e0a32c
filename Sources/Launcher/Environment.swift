/// The variables of a process in their order. What is not changed keeps its bytes.
package struct Environment: Hashable, Sendable {
    /// `NAME=value`, as execve(2) wants it.
    package private(set) var entries: [SystemText]

    package init(_ entries: [SystemText]) { self.entries = entries }

    /// The variable's value, or nil if it is missing. Where a name appears twice, the first counts (as for getenv(3)).
    package func value(_ name: String) -> SystemText? {
        let prefix = name + "="
        return entries.first { $0.hasPrefix(prefix) }
            .map { SystemText(bytes: $0.bytes.dropFirst(prefix.utf8.count)) }
    }

    /// The variable as text; nil if it is missing or not UTF-8. Setting nil removes it.
    package subscript(_ name: String) -> String? {
        get { value(name)?.string }
        set { set(name, newValue.map { SystemText($0) }) }
    }

    /// Sets a variable in its place, or removes it.
    package mutating func set(_ name: String, _ value: SystemText?) {
        let prefix = name + "="
        let place = entries.firstIndex { $0.hasPrefix(prefix) }
        entries.removeAll { $0.hasPrefix(prefix) }
        if let value { entries.insert(SystemText(prefix) + value, at: place ?? entries.endIndex) }
    }

    /// Sets a variable only where there is none. A variable that is set to nothing stays so.
    package mutating func setDefault(_ name: String, _ value: @autoclosure () -> String) {
        if self.value(name) == nil { self[name] = value() }
    }

    /// The variable as text, where something is in it.
    func nonEmpty(_ name: String) -> String? {
        guard let text = self[name], !text.isEmpty else { return nil }
        return text
    }
}
