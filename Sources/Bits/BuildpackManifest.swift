import JSON

/// A buildpack's `manifest.yml`, as far as it is read here: the scalar `stack` of the outermost mapping.
///
/// A parser of all of YAML would bring in what strangers' bytes can do to it, for one word.
enum BuildpackManifest {
    /// - Returns: nil if the manifest names no stack, or one that can't be a stack's name.
    static func stack(in bytes: [UInt8]) -> String? {
        for line in bytes.withoutByteOrderMark.split(whereSeparator: {
            $0 == UInt8(ascii: "\n") || $0 == UInt8(ascii: "\r")
        }) {
            guard line.starts(with: "stack:".utf8) else { continue }
            let value = line.dropFirst("stack:".utf8.count).split { " \t\"'".utf8.contains($0) }.first
            guard let value, value.count <= 63,
                value.allSatisfy({ byte in
                    switch byte {
                    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"),
                        UInt8(ascii: "-"):
                        true
                    default: false
                    }
                })
            else { return nil }
            return String(decoding: value, as: UTF8.self)
        }
        return nil
    }
}
