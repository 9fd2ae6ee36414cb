/** What ends a run: the name of the checker and what it saw. */
export class SimFailure extends Error {
  override readonly name = "SimFailure";
  readonly checker: string;

  constructor(checker: string, what: string) {
    super(what);
    this.checker = checker;
  }
}
