internal import Archive

extension FileTree {
    /// Leaves out what layers above have or hide anyhow.
    ///
    /// Those layers also say what the directories above these paths are: 0755, root's, of 1970, as every layer that
    /// Cistern makes has them.
    /// - Throws: `ConversionError` if something above a path is no directory.
    mutating func cover(_ paths: [[UInt8]]) throws(ConversionError) {
        for path in paths {
            var node = Self.root
            var components = path.split(separator: EntryName.slash)[...]
            while let component = components.popFirst(), let next = child(node, component) {
                if components.isEmpty {
                    removeAll(next)
                } else {
                    guard file(next).kind == .directory else {
                        throw ConversionError(
                            .invalid, "is no directory, but the images' own layers have something below it",
                            entry: self.path(next))
                    }
                    let layer = nodes[next].layer
                    set(next, to: add(.plainDirectory(layer: layer)), layer: layer)
                }
                node = next
            }
        }
    }
}
