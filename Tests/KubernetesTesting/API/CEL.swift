import JSON

/// A value of an expression.
enum CELValue: Equatable {
    case json(JSONValue)
    /// A member that is not there: an error unless `has` or `orValue` asks for it.
    case missing(String)

    var json: JSONValue? { if case .json(let value) = self { value } else { nil } }
}

/// The part of the Common Expression Language that match conditions of admission webhooks need ("Common Expression
/// Language in Kubernetes"): literals, `.` and `[]`, `!`, `&&`, `||`, `==`, `!=`, `<`, `>`, `in`, `+`, `?:`, `has`,
/// `size`, `startsWith`, `endsWith`, `contains`, `exists`, `all`, `filter`, `map`, `matches` with plain text, and
/// optional members (`.?name`, `[?key]`, `orValue`).
struct CEL {
    struct Failure: Error, CustomStringConvertible { let description: String }

    static func isTrue(_ text: String, _ variables: [String: CELValue]) throws(Failure) -> Bool {
        var parser = CEL(tokens: try tokens(text), variables: variables)
        let value = try parser.conditional()
        guard parser.position == parser.tokens.count else {
            throw Failure(description: "not understood: \(parser.tokens[parser.position])")
        }
        return try bool(value)
    }

    private let tokens: [String]
    private var position = 0
    private var variables: [String: CELValue]

    private init(tokens: [String], variables: [String: CELValue]) {
        self.tokens = tokens
        self.variables = variables
    }

    private static func tokens(_ text: String) throws(Failure) -> [String] {
        var tokens: [String] = []
        var rest = text[...]
        while let first = rest.first {
            if first.isWhitespace {
                rest = rest.dropFirst()
            } else if first == "\"" || first == "'" {
                rest = rest.dropFirst()
                var value = "\""
                while let next = rest.first, next != first {
                    if next == "\\" { rest = rest.dropFirst() }
                    if let next = rest.first { value.append(next) }
                    rest = rest.dropFirst()
                }
                rest = rest.dropFirst()
                tokens.append(value)
            } else if first.isLetter || first == "_" || first.isNumber {
                let word = rest.prefix { $0.isLetter || $0.isNumber || $0 == "_" }
                tokens.append(String(word))
                rest = rest.dropFirst(word.count)
            } else if let two = ["&&", "||", "==", "!=", "<=", ">=", ".?", "[?"].first(where: { rest.hasPrefix($0) }) {
                tokens.append(two)
                rest = rest.dropFirst(2)
            } else if "!().,[]<>?:+-".contains(first) {
                tokens.append(String(first))
                rest = rest.dropFirst()
            } else {
                throw Failure(description: "not understood: \(first)")
            }
        }
        return tokens
    }

    private var next: String? { position < tokens.count ? tokens[position] : nil }

    private mutating func take(_ token: String) -> Bool {
        guard next == token else { return false }
        position += 1
        return true
    }

    private mutating func expect(_ token: String) throws(Failure) {
        guard take(token) else { throw Failure(description: "\(token) expected, not \(next ?? "the end")") }
    }

    private static func bool(_ value: CELValue) throws(Failure) -> Bool {
        guard let value = try known(value).bool else { throw Failure(description: "no boolean") }
        return value
    }

    private static func known(_ value: CELValue) throws(Failure) -> JSONValue {
        switch value {
        case .json(let value): return value
        case .missing(let name): throw Failure(description: "no such key: \(name)")
        }
    }

    private mutating func conditional() throws(Failure) -> CELValue {
        let value = try or()
        guard take("?") else { return value }
        let one = try conditional()
        try expect(":")
        let other = try conditional()
        return try Self.bool(value) ? one : other
    }

    // Both sides are read in any case; an error on one side counts only if the other does not settle it.
    private mutating func or() throws(Failure) -> CELValue {
        var value = try and()
        while take("||") { value = try Self.settle(value, try and(), by: true) }
        return value
    }

    private mutating func and() throws(Failure) -> CELValue {
        var value = try relation()
        while take("&&") { value = try Self.settle(value, try relation(), by: false) }
        return value
    }

    private static func settle(_ one: CELValue, _ other: CELValue, by settling: Bool) throws(Failure) -> CELValue {
        if one == .json(.bool(settling)) || other == .json(.bool(settling)) { return .json(.bool(settling)) }
        if case .missing = one { return one }
        if case .missing = other { return other }
        _ = try (bool(one), bool(other))
        return .json(.bool(!settling))
    }

    private mutating func relation() throws(Failure) -> CELValue {
        var value = try sum()
        while let sign = next, ["==", "!=", "<", ">", "<=", ">=", "in"].contains(sign) {
            position += 1
            let other = try sum()
            guard let one = value.json, let two = other.json else {
                value = value.json == nil ? value : other
                continue
            }
            switch sign {
            case "==": value = .json(.bool(one == two))
            case "!=": value = .json(.bool(one != two))
            case "in":
                let isIn = two.array?.contains(one) ?? one.string.flatMap { two[$0] }.map { _ in true } ?? false
                value = .json(.bool(isIn))
            default:
                guard let left = one.integer, let right = two.integer else { throw Failure(description: "no numbers") }
                let holds =
                    switch sign {
                    case "<": left < right
                    case ">": left > right
                    case "<=": left <= right
                    default: left >= right
                    }
                value = .json(.bool(holds))
            }
        }
        return value
    }

    private mutating func sum() throws(Failure) -> CELValue {
        var value = try unary()
        while take("+") {
            switch (try Self.known(value), try Self.known(unary())) {
            case (.string(let one), .string(let other)): value = .json(.string(one + other))
            case (.array(let one), .array(let other)): value = .json(.array(one + other))
            default: throw Failure(description: "no such overload: +")
            }
        }
        return value
    }

    private mutating func unary() throws(Failure) -> CELValue {
        if take("!") {
            let value = try unary()
            guard value.json != nil else { return value }
            return .json(.bool(try !Self.bool(value)))
        }
        var value = try primary()
        while let sign = next {
            if take(".") || take(".?") {
                guard let name = next else { throw Failure(description: "a name is missing") }
                position += 1
                if take("(") {
                    value = try method(name, of: value)
                } else {
                    value = value.json.map { $0[name].map(CELValue.json) ?? .missing(name) } ?? value
                }
            } else if take("[") || take("[?") {
                let index = try Self.known(conditional())
                try expect("]")
                if let name = index.string {
                    value = value.json?[name].map(CELValue.json) ?? .missing(name)
                } else {
                    let elements = value.json?.array ?? []
                    let number = index.int ?? -1
                    value = elements.indices.contains(number) ? .json(elements[number]) : .missing("\(number)")
                }
            } else {
                _ = sign
                break
            }
        }
        return value
    }

    private mutating func primary() throws(Failure) -> CELValue {
        guard let token = next else { throw Failure(description: "the expression ends early") }
        position += 1
        if token.hasPrefix("\"") { return .json(.string(String(token.dropFirst()))) }
        if token == "-", let number = next, Int64(number) != nil {
            position += 1
            return .json(.number("-" + number))
        }
        if Int64(token) != nil { return .json(.number(token)) }
        switch token {
        case "true", "false": return .json(.bool(token == "true"))
        case "null": return .json(.null)
        case "(":
            let value = try conditional()
            try expect(")")
            return value
        case "[":
            var elements: [JSONValue] = []
            while !take("]") {
                elements.append(try Self.known(conditional()))
                _ = take(",")
            }
            return .json(.array(elements))
        case "has":
            try expect("(")
            let value = try conditional()
            try expect(")")
            return .json(.bool(value.json != nil))
        case "size" where next == "(":
            try expect("(")
            let value = try conditional()
            try expect(")")
            return .json(try Self.size(value))
        default:
            guard let value = variables[token] else {
                // A variable of a macro whose list is empty is never used, but its expression is read.
                return .missing(token)
            }
            return value
        }
    }

    private static func size(_ value: CELValue) throws(Failure) -> JSONValue {
        let value = try known(value)
        return .integer(value.array?.count ?? value.object?.count ?? value.string?.count ?? 0)
    }

    private mutating func method(_ name: String, of value: CELValue) throws(Failure) -> CELValue {
        switch name {
        case "exists", "all", "filter", "map", "exists_one":
            guard let variable = next else { throw Failure(description: "a variable is missing") }
            position += 1
            try expect(",")
            let start = position
            let outer = variables[variable]
            defer { variables[variable] = outer }
            var results: [CELValue] = []
            let elements: [JSONValue]
            switch value {
            case .json(let list): elements = list.array ?? (list.object.map { $0.keys.map(JSONValue.string) } ?? [])
            case .missing: elements = []
            }
            for element in elements.isEmpty ? [.null] : elements {
                position = start
                variables[variable] = .json(element)
                if elements.isEmpty { variables[variable] = .missing(variable) }
                let result = try conditional()
                if !elements.isEmpty { results.append(result) }
            }
            try expect(")")
            if case .missing = value { return value }
            switch name {
            case "exists", "all":
                var settled = CELValue.json(.bool(name == "all"))
                for result in results { settled = try Self.settle(settled, result, by: name == "exists") }
                return settled
            case "exists_one":
                return .json(.bool(results.filter { $0 == .json(true) }.count == 1))
            case "filter":
                var kept: [JSONValue] = []
                for (element, result) in zip(elements, results) where try Self.bool(result) { kept.append(element) }
                return .json(.array(kept))
            default:
                var mapped: [JSONValue] = []
                for result in results { mapped.append(try Self.known(result)) }
                return .json(.array(mapped))
            }
        default:
            var arguments: [CELValue] = []
            while !take(")") {
                arguments.append(try conditional())
                _ = take(",")
            }
            if name == "orValue" { return value.json == nil ? arguments.first ?? value : value }
            if name == "hasValue" { return .json(.bool(value.json != nil)) }
            guard value.json != nil else { return value }
            if name == "size" { return .json(try Self.size(value)) }
            guard let text = value.json?.string, let argument = arguments.first?.json?.string else {
                throw Failure(description: "no such overload: \(name)")
            }
            switch name {
            case "startsWith": return .json(.bool(text.hasPrefix(argument)))
            case "endsWith": return .json(.bool(text.hasSuffix(argument)))
            case "contains": return .json(.bool(text.contains(argument)))
            case "matches":
                guard let pattern = try? Regex(argument) else { throw Failure(description: "no pattern: \(argument)") }
                return .json(.bool((try? pattern.firstMatch(in: text)) != nil))
            default: throw Failure(description: "undeclared reference to '\(name)'")
            }
        }
    }
}
