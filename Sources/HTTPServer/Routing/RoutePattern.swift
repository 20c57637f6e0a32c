import OCI

/// A path with parameters: `/droplets/:guid/:hash`, or `/v2/**` for `/v2` and everything below it.
///
/// Where several patterns match, text wins over a parameter, and a parameter over `**`. A parameter takes one
/// component, which is not empty.
public struct RoutePattern: Sendable, ExpressibleByStringLiteral {
    enum Component: Hashable, Sendable {
        case text([UInt8])
        case parameter(String)

        var rank: Int { if case .text = self { 0 } else { 1 } }
    }

    /// As it was written.
    public let text: String
    let components: [Component]
    let takesRest: Bool

    public init(stringLiteral pattern: String) {
        text = pattern
        var parts = pattern.split(separator: "/", omittingEmptySubsequences: false).dropFirst()
        takesRest = parts.last == "**"
        if takesRest { parts.removeLast() }
        components = parts.map { part in
            part.first == ":" ? .parameter(String(part.dropFirst())) : .text(Array(part.utf8))
        }
    }

    /// - Returns: nil if the path does not match; `.some(nil)` if it does, but a parameter's percent-encoding is
    ///   malformed.
    func match(_ path: UnsafeBufferPointer<UInt8>) -> Parameters?? {
        let slash = UInt8(ascii: "/")
        var parameters: Parameters? = Parameters()
        var position = 0
        for component in components {
            guard position < path.count, path[position] == slash else { return nil }
            let start = position + 1
            position = start
            while position < path.count, path[position] != slash { position += 1 }
            let part = path[start..<position]
            switch component {
            case .text(let text): guard part.count == text.count, part.elementsEqual(text) else { return nil }
            case .parameter(let name):
                guard !part.isEmpty else { return nil }
                if let value = PercentEncoding.decode(part) {
                    parameters?.add(name, value)
                } else {
                    parameters = nil
                }
            }
        }
        guard position == path.count || (takesRest && path[position] == slash) else { return nil }
        return .some(parameters)
    }
}

/// The values of the parameters in a route's pattern.
public struct Parameters: Sendable {
    private var values: [(name: String, value: String)] = []

    init() {}
    init(_ values: [String: String]) { self.values = values.map { ($0.key, $0.value) } }

    mutating func add(_ name: String, _ value: String) { values.append((name, value)) }

    /// The value of a parameter; an empty string if the pattern has none of that name.
    public subscript(_ name: String) -> String { values.first { $0.name == name }?.value ?? "" }
}
