/// A sequence of what is given.
package struct AsyncElements<Element: Sendable>: AsyncSequence, Sendable {
    package let chunks: [Element]
    package init(_ chunks: [Element]) { self.chunks = chunks }
    package func makeAsyncIterator() -> Iterator { Iterator(rest: chunks[...]) }
    package struct Iterator: AsyncIteratorProtocol {
        var rest: ArraySlice<Element>
        package mutating func next() async -> Element? { rest.popFirst() }
    }
}
