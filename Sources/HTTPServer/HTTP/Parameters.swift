/// What a route's pattern names.
public struct Parameters: Sendable {
    private var values: [(name: String, value: String)] = []

    init() {}
    init(_ values: [String: String]) { self.values = values.map { ($0.key, $0.value) } }

    mutating func add(_ name: String, _ value: String) { values.append((name, value)) }

    /// The value of a name that the pattern has; an empty string for any other.
    public subscript(_ name: String) -> String { values.first { $0.name == name }?.value ?? "" }
}
