import JSON

/// Names and values, one a line, the values in a column.
struct Fields {
    private static let width = 14

    private(set) var text = ""

    /// Nothing is added for nil or an empty value.
    mutating func add(_ name: String, _ value: String?) {
        guard let value, !value.isEmpty else { return }
        let padding = String(repeating: " ", count: max(1, Self.width - name.count))
        text += name + padding + printable(value) + "\n"
    }

    /// A line for each layer, bottom up.
    mutating func add(layersOf json: JSONValue) {
        for layer in json["layers"]?.array ?? [] {
            add("layer", "\(layer["digest"]?.string ?? "") \(byteCount(layer["size"]?.integer ?? 0))")
        }
    }
}
