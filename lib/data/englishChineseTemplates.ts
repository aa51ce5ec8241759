import type { PhiloxStream } from '../random.ts'
import type { Action, Adjective, Noun, Phrase, Subject, Verb } from './englishChineseLexicon.ts'
import * as lexicon from './englishChineseLexicon.ts'

/** Makes one sentence and its translation. */
export type Template = (random: PhiloxStream) => Phrase

// ---- English forms

const words = (...parts: string[]) => parts.filter(part => part !== '').join(' ')
const is = (s: Subject) => (s.person === 'first' ? 'am' : s.person === 'third' ? 'is' : 'are')
const was = (s: Subject) => (s.person === 'plural' ? 'were' : 'was')
const does = (s: Subject) => (s.person === 'third' ? 'does' : 'do')
const has = (s: Subject) => (s.person === 'third' ? 'has' : 'have')
const present = (s: Subject, verb: Verb) => (s.person === 'third' ? verb.third : verb.en)
/** Regular third person: wants, likes. */
const third = (s: Subject, verb: string) => (s.person === 'third' ? `${verb}s` : verb)
/** With not, written out or contracted; the translation is the same. */
const not = (random: PhiloxStream, auxiliary: string): string => {
  const contractions: Record<string, string> = {
    is: "isn't",
    are: "aren't",
    was: "wasn't",
    were: "weren't",
    do: "don't",
    does: "doesn't",
    did: "didn't",
    will: "won't",
  }
  const short = contractions[auxiliary]
  return short !== undefined && random.int(3) === 0 ? short : `${auxiliary} not`
}
const capital = (text: string) => text.charAt(0).toUpperCase() + text.slice(1)
const article = (word: string) => (/^[aeio]|^um/.test(word) ? `an ${word}` : `a ${word}`)

const say = (en: string, zh: string): Phrase => ({ en: `${capital(en)}.`, zh: `${zh}。` })
const ask = (en: string, zh: string): Phrase => ({ en: `${capital(en)}?`, zh: `${zh}？` })

// ---- Phrases

const nothing: Phrase = { en: '', zh: '' }
/** `phrase`, or nothing in `odds - 1` of `odds` cases. */
const perhaps = (random: PhiloxStream, phrases: readonly Phrase[], odds: number): Phrase =>
  random.int(odds) === 0 ? random.pick(phrases) : nothing

/** Object without number: drinks tea, reads novels. */
function plainObject(random: PhiloxStream, action: Action): Phrase {
  const noun = random.int(action.nouns.length + action.mass.length || 1)
  if (action.nouns.length + action.mass.length === 0) return nothing
  const counted = action.nouns[noun]
  return counted === undefined ? (action.mass[noun - action.nouns.length] as Phrase) : { en: counted.plural, zh: counted.zh }
}

/** Object of something under way or not done: reading a novel, drinking tea; in Chinese without number. */
function singleObject(random: PhiloxStream, action: Action): Phrase {
  const object = plainObject(random, action)
  const counted = action.nouns.find(noun => noun.plural === object.en)
  return counted === undefined || action === lexicon.buyingFood ? object : { en: article(counted.en), zh: counted.zh }
}

/** One to `most` things: two books 两本书. */
function counted(random: PhiloxStream, noun: Noun, attribute?: Adjective, most = 5): Phrase {
  const zh = `${noun.measure}${attribute?.attribute ?? ''}${noun.zh}`
  if (random.int(2) === 0) return { en: article(words(attribute?.en ?? '', noun.en)), zh: `一${zh}` }
  const number = random.pick(lexicon.numbers.slice(0, most - 1))
  return { en: words(number.en, attribute?.en ?? '', noun.plural), zh: `${number.zh}${zh}` }
}

/** Two or more things. */
function several(random: PhiloxStream, noun: Noun): Phrase {
  const number = random.pick(lexicon.numbers)
  return { en: `${number.en} ${noun.plural}`, zh: `${number.zh}${noun.measure}${noun.zh}` }
}

/** What was eaten, drunk, bought: two apples, a cup of tea. `far` if it may well have been last month. */
function portion(random: PhiloxStream): { verb: Verb; object: Phrase; far: boolean } {
  if (random.int(4) === 0) {
    const drink = random.pick(lexicon.drinks)
    const vessel = lexicon.vessel(drink)
    if (random.int(2) === 0) return { verb: lexicon.drink, far: false, object: { en: `a ${vessel} of ${drink.en}`, zh: `一杯${drink.zh}` } }
    const number = random.pick(lexicon.numbers.slice(0, 4))
    return {
      verb: lexicon.drink,
      far: false,
      object: { en: `${number.en} ${vessel === 'cup' ? 'cups' : 'glasses'} of ${drink.en}`, zh: `${number.zh}杯${drink.zh}` },
    }
  }
  const action = random.pick(lexicon.countable)
  return { verb: action.verb, far: action === lexicon.buyingGoods, object: counted(random, random.pick(action.nouns)) }
}

/** This or that thing. */
function pointed(random: PhiloxStream, noun: Noun): Phrase {
  return random.int(2) === 0
    ? { en: `this ${noun.en}`, zh: `这${noun.measure}${noun.zh}` }
    : { en: `that ${noun.en}`, zh: `那${noun.measure}${noun.zh}` }
}

/** A thing of somebody's; kin and friends take no 的, things do. */
function owned(random: PhiloxStream, noun: Noun): Phrase {
  const { possessive } = random.pick(lexicon.owners)
  return { en: `${possessive.en} ${noun.en}`, zh: `${possessive.zh}${noun.zh}` }
}

const quality = (random: PhiloxStream): { noun: Noun; adjective: Adjective } => {
  const { nouns, adjectives } = random.pick(lexicon.qualities)
  return { noun: random.pick(nouns), adjective: random.pick(adjectives) }
}

/** An adjective as predicate: Chinese has no "is" here, but 很 where nothing else stands. */
function degree(random: PhiloxStream, adjective: Phrase): Phrase {
  const { en, zh } = adjective
  const forms: Phrase[] = [
    { en, zh: `很${zh}` },
    { en: `very ${en}`, zh: `非常${zh}` },
    { en: `too ${en}`, zh: `太${zh}了` },
    { en: `not ${en}`, zh: `不${zh}` },
    { en: `not very ${en}`, zh: `不太${zh}` },
  ]
  if (lexicon.complaints.has(en)) forms.push({ en: `a little ${en}`, zh: `有点儿${zh}` })
  return random.pick(forms)
}

/** An activity as a verb phrase in the infinitive: drink tea 喝茶. */
function doing(random: PhiloxStream, actions: readonly Action[] = lexicon.activities): Phrase & { action: Action; object: Phrase } {
  const action = random.pick(actions)
  const object = plainObject(random, action)
  return { action, object, en: words(action.verb.en, object.en), zh: `${action.verb.zh}${object.zh}` }
}

/** 正在 melts with the 在 of a place: 正在公园里跑步. */
const underWay = (place: Phrase) => (place === nothing ? '正在' : `正${place.zh}`)

/** Time at the end of the English sentence, or now and then in front; in Chinese after the subject or in front. */
function timed(random: PhiloxStream, time: Phrase, subject: Phrase, en: string, zh: string): Phrase {
  if (random.int(4) === 0) return say(`${time.en}, ${words(subject.en, en)}`, `${time.zh}${subject.zh}${zh}`)
  return say(words(subject.en, en, time.en), `${subject.zh}${time.zh}${zh}`)
}

// ---- Statements about what people do

const habit: Template = random => {
  const s = random.pick(lexicon.subjects)
  const { action, object, zh } = doing(random)
  const place = perhaps(random, action.places.length === 0 ? [nothing] : action.places, 2)
  const verb = words(present(s, action.verb), object.en, place.en)
  switch (random.int(4)) {
    case 0: {
      const time = random.pick(lexicon.every)
      return say(words(s.en, verb, time.en), `${s.zh}${time.zh}${place.zh}${zh}`)
    }
    case 1: {
      const never = { en: 'never', zh: '从不' }
      return say(words(s.en, never.en, verb), `${s.zh}${never.zh}${place.zh}${zh}`)
    }
    default: {
      const adverb = random.pick(lexicon.often)
      return say(words(s.en, adverb.en, verb), `${s.zh}${adverb.zh}${place.zh}${zh}`)
    }
  }
}

const habitNegative: Template = random => {
  const s = random.pick(lexicon.subjects)
  const activity = doing(random)
  const place = perhaps(random, activity.action.places, 2)
  return say(words(s.en, not(random, does(s)), activity.en, place.en), `${s.zh}不${place.zh}${activity.zh}`)
}

const progressive: Template = random => {
  const s = random.pick(lexicon.subjects)
  const action = random.pick(lexicon.activities)
  const object = singleObject(random, action)
  const place = perhaps(random, action.places.length === 0 ? [nothing] : action.places, 2)
  const now = random.int(4) === 0 ? { en: 'now', zh: '现在' } : nothing
  return say(
    words(s.en, is(s), action.verb.gerund, object.en, place.en, now.en),
    `${s.zh}${now.zh}${underWay(place)}${action.verb.zh}${object.zh}`,
  )
}

const done: Template = random => {
  const s = random.pick(lexicon.subjects)
  const { verb, object, far } = portion(random)
  return timed(random, random.pick(far ? lexicon.past : lexicon.pastDay), s, words(verb.past, object.en), `${verb.zh}了${object.zh}`)
}

const doneThis: Template = random => {
  const s = random.pick(lexicon.subjects)
  const action = random.pick(lexicon.definite)
  const object = pointed(random, random.pick(action.nouns))
  return timed(random, random.pick(lexicon.past), s, words(action.verb.past, object.en), `${action.verb.zh}了${object.zh}`)
}

const doneThere: Template = random => {
  const s = random.pick(lexicon.subjects)
  const { action, object, zh } = doing(random, lexicon.pastimes)
  const place = random.pick(action.places)
  return timed(random, random.pick(lexicon.pastDay), s, words(action.verb.past, object.en, place.en), `${place.zh}${zh}了`)
}

const notDone: Template = random => {
  const s = random.pick(lexicon.subjects)
  const action = random.pick(lexicon.activities)
  const object = singleObject(random, action)
  const verb = words(not(random, 'did'), action.verb.en, object.en)
  return timed(random, random.pick(lexicon.pastDay), s, verb, `没有${action.verb.zh}${object.zh}`)
}

const already: Template = random => {
  const s = random.pick(lexicon.subjects)
  const action = random.pick(lexicon.definite)
  const object = pointed(random, random.pick(action.nouns))
  return say(words(s.en, has(s), 'already', action.verb.participle, object.en), `${s.zh}已经${action.verb.zh}了${object.zh}`)
}

const experience: Template = random => {
  const s = random.pick(lexicon.subjects)
  const action = random.pick(lexicon.experiences)
  const object = pointed(random, random.pick(action.nouns))
  if (random.int(2) === 0)
    return say(words(s.en, has(s), 'never', action.verb.participle, object.en), `${s.zh}从来没${action.verb.zh}过${object.zh}`)
  return say(words(s.en, has(s), action.verb.participle, object.en, 'before'), `${s.zh}以前${action.verb.zh}过${object.zh}`)
}

const beenTo: Template = random => {
  const city = random.pick(lexicon.cities)
  switch (random.int(3)) {
    case 0: {
      const s = random.pick(lexicon.asked)
      return ask(words(has(s), s.en, 'been to', city.en), `${s.zh}去过${city.zh}吗`)
    }
    case 1: {
      const s = random.pick(lexicon.subjects)
      return say(words(s.en, has(s), 'never been to', city.en), `${s.zh}从来没去过${city.zh}`)
    }
    default: {
      const s = random.pick(lexicon.subjects)
      const other = random.pick(lexicon.cities.filter(each => each !== city))
      return say(words(s.en, has(s), 'been to', city.en, 'and', other.en), `${s.zh}去过${city.zh}和${other.zh}`)
    }
  }
}

const willDo: Template = random => {
  const s = random.pick(lexicon.subjects)
  const time = random.pick(lexicon.futureDay)
  if (random.int(2) === 0) {
    const { verb, object, far } = portion(random)
    return timed(random, far ? random.pick(lexicon.future) : time, s, words('will', verb.en, object.en), `会${verb.zh}${object.zh}`)
  }
  const { action, object, zh } = doing(random)
  const place = action.places.length === 0 ? nothing : random.pick(action.places)
  const verb = words(action.verb.en, object.en, place.en)
  if (random.int(3) === 0) return timed(random, time, s, words(not(random, 'will'), verb), `不会${place.zh}${zh}`)
  return timed(random, time, s, words('will', verb), `会${place.zh}${zh}`)
}

const plan: Template = random => {
  const s = random.pick(lexicon.subjects)
  const { verb, object, far } = portion(random)
  return timed(
    random,
    random.pick(far ? lexicon.future : lexicon.futureDay),
    s,
    words(is(s), 'going to', verb.en, object.en),
    `打算${verb.zh}${object.zh}`,
  )
}

const modal: Template = random => {
  const s = random.pick(lexicon.subjects)
  const { action, object, zh } = doing(random)
  const place = perhaps(random, action.places.length === 0 ? [nothing] : action.places, 3)
  const verb = words(action.verb.en, object.en, place.en)
  const forms: Phrase[] = [
    { en: words(third(s, 'want'), 'to', verb), zh: '想' },
    { en: words(not(random, does(s)), 'want to', verb), zh: '不想' },
    { en: words(third(s, 'like'), 'to', verb), zh: '喜欢' },
    { en: words(not(random, does(s)), 'like to', verb), zh: '不喜欢' },
    { en: words('also', third(s, 'like'), 'to', verb), zh: '也喜欢' },
    { en: words(has(s), 'to', verb), zh: '必须' },
    { en: words('should', verb), zh: '应该' },
    { en: words('should not', verb), zh: '不应该' },
    { en: words(not(random, does(s)), 'have time to', verb), zh: '没有时间' },
  ]
  // Without a place, "can" would be a skill: 会.
  if (place !== nothing) forms.push({ en: words('can', verb), zh: '可以' })
  const form = random.pick(forms)
  return say(words(s.en, form.en), `${s.zh}${form.zh}${place.zh}${zh}`)
}

const skill: Template = random => {
  const what = random.pick(lexicon.skills)
  switch (random.int(4)) {
    case 0: {
      const s = random.pick(lexicon.asked)
      return ask(words('can', s.en, what.en), `${s.zh}会${what.zh}吗`)
    }
    case 1: {
      const s = random.pick(lexicon.subjects)
      return say(words(s.en, 'cannot', what.en), `${s.zh}不会${what.zh}`)
    }
    case 2: {
      const s = random.pick(lexicon.subjects)
      const other = random.pick(lexicon.skills.filter(each => each !== what))
      return say(words(s.en, 'can', what.en, 'but cannot', other.en), `${s.zh}会${what.zh}，但是不会${other.zh}`)
    }
    default: {
      const s = random.pick(lexicon.subjects)
      return say(words(s.en, 'can', what.en), `${s.zh}会${what.zh}`)
    }
  }
}

// ---- Questions

const yesNo: Template = random => {
  const s = random.pick(lexicon.asked)
  const { action, object, en, zh } = doing(random)
  switch (random.int(5)) {
    case 0:
      return ask(words(does(s), s.en, 'like to', en), `${s.zh}喜欢${zh}吗`)
    case 1:
      return ask(words(does(s), s.en, 'want to', en), `${s.zh}想${zh}吗`)
    case 2: {
      const time = random.pick(lexicon.every)
      return ask(words(does(s), s.en, en, time.en), `${s.zh}${time.zh}${zh}吗`)
    }
    case 3: {
      const single = singleObject(random, action)
      return ask(words(is(s), s.en, action.verb.gerund, single.en), `${s.zh}在${action.verb.zh}${single.zh}吗`)
    }
    default: {
      const adverb = random.pick(lexicon.often.slice(0, 1))
      return ask(words(does(s), s.en, adverb.en, action.verb.en, object.en), `${s.zh}${adverb.zh}${zh}吗`)
    }
  }
}

const didYou: Template = random => {
  const s = random.pick(lexicon.asked)
  if (random.int(3) === 0) {
    const { verb, nouns } = random.pick(lexicon.experiences)
    const object = pointed(random, random.pick(nouns))
    return ask(words(has(s), s.en, verb.participle, object.en), `${s.zh}${verb.zh}过${object.zh}吗`)
  }
  const { verb, nouns } = random.pick(lexicon.definite)
  const object = pointed(random, random.pick(nouns))
  const time = random.pick(lexicon.past)
  return ask(words('did', s.en, verb.en, object.en, time.en), `${s.zh}${time.zh}${verb.zh}了${object.zh}吗`)
}

const whatQuestion: Template = random => {
  const s = random.pick(lexicon.asked)
  const action = random.pick([lexicon.eating, lexicon.drinking, ...lexicon.countable.slice(1, 6)])
  const { verb } = action
  switch (random.int(5)) {
    case 0: {
      const place = perhaps(random, action.places, 2)
      return ask(words('what', is(s), s.en, verb.gerund, place.en), `${s.zh}${place === nothing ? '在' : place.zh}${verb.zh}什么`)
    }
    case 1: {
      const time = random.pick(lexicon.pastDay)
      return ask(words('what did', s.en, verb.en, time.en), `${s.zh}${time.zh}${verb.zh}了什么`)
    }
    case 2:
      return ask(words('what', does(s), s.en, 'want to', verb.en), `${s.zh}想${verb.zh}什么`)
    case 3: {
      const time = random.pick(lexicon.every)
      return ask(words('what', does(s), s.en, verb.en, time.en), `${s.zh}${time.zh}${verb.zh}什么`)
    }
    default: {
      const time = random.pick(lexicon.futureDay)
      return ask(words('what will', s.en, verb.en, time.en), `${s.zh}${time.zh}会${verb.zh}什么`)
    }
  }
}

const whoQuestion: Template = random => {
  if (random.int(2) === 0) {
    const { verb, object } = portion(random)
    const time = random.pick(lexicon.pastDay)
    return ask(words('who', verb.past, object.en, time.en), `谁${time.zh}${verb.zh}了${object.zh}`)
  }
  const action = random.pick(lexicon.activities.filter(each => each.places.length > 0))
  const object = singleObject(random, action)
  const place = random.pick(action.places)
  return ask(words('who is', action.verb.gerund, object.en, place.en), `谁${place.zh}${action.verb.zh}${object.zh}`)
}

const whereQuestion: Template = random => {
  const s = random.pick(lexicon.asked)
  switch (random.int(4)) {
    case 0: {
      const noun = random.pick(lexicon.things)
      const { en, zh } = owned(random, noun)
      return ask(`where is ${en}`, `${zh}在哪里`)
    }
    case 1: {
      const noun = pointed(random, random.pick(lexicon.goods))
      return ask(words('where did', s.en, 'buy', noun.en), `${s.zh}在哪里买的${noun.zh}`)
    }
    case 2: {
      const activity = doing(random)
      const time = perhaps(random, lexicon.every, 2)
      return ask(words('where', does(s), s.en, activity.en, time.en), `${s.zh}${time.zh}在哪里${activity.zh}`)
    }
    default: {
      const time = perhaps(random, lexicon.pastDay, 2)
      return time === nothing
        ? ask(words('where', is(s), s.en, 'now'), `${s.zh}现在在哪里`)
        : ask(words('where', was(s), s.en, time.en), `${s.zh}${time.zh}在哪里`)
    }
  }
}

const whenWhyHow: Template = random => {
  const s = random.pick(lexicon.asked)
  const activity = doing(random)
  switch (random.int(5)) {
    case 0: {
      const routine = random.pick(lexicon.routines)
      const time = perhaps(random, lexicon.every.slice(0, 1), 2)
      return ask(words('when', does(s), s.en, routine.en, time.en), `${s.zh}${time.zh}什么时候${routine.zh}`)
    }
    case 1:
      return ask(words('why', does(s), s.en, 'want to', activity.en), `${s.zh}为什么想${activity.zh}`)
    case 2:
      return ask(words('why', does(s), s.en, 'not like to', activity.en), `${s.zh}为什么不喜欢${activity.zh}`)
    case 3: {
      const { en, zh } = random.pick(lexicon.destinations)
      const time = perhaps(random, lexicon.every.slice(0, 4), 2)
      return ask(words('how', does(s), s.en, 'go to', en, time.en), `${s.zh}${time.zh}怎么去${zh}`)
    }
    default: {
      const { en, zh } = random.pick(lexicon.cities)
      const time = random.pick(lexicon.future)
      return ask(words('how will', s.en, 'go to', en, time.en), `${s.zh}${time.zh}怎么去${zh}`)
    }
  }
}

const howMany: Template = random => {
  const s = random.pick(lexicon.asked)
  if (random.int(3) === 0) {
    const noun = random.pick(lexicon.things)
    return ask(words('how many', noun.plural, does(s), s.en, 'have'), `${s.zh}有几${noun.measure}${noun.zh}`)
  }
  if (random.int(2) === 0) {
    const place = random.pick(lexicon.locations)
    const noun = random.pick(place.nouns)
    return ask(words('how many', noun.plural, 'are there', place.en), `${place.zh}有几${noun.measure}${noun.zh}`)
  }
  const action = random.pick(lexicon.countable)
  const noun = random.pick(action.nouns)
  const time = random.pick(lexicon.pastDay)
  return ask(
    words('how many', noun.plural, 'did', s.en, action.verb.en, time.en),
    `${s.zh}${time.zh}${action.verb.zh}了几${noun.measure}${noun.zh}`,
  )
}

const price: Template = random => {
  const { nouns, numbers } = random.pick(lexicon.prices)
  const object = pointed(random, random.pick(nouns))
  if (random.int(3) === 0) return ask(`how much is ${object.en}`, `${object.zh}多少钱`)
  const number = random.pick(numbers)
  return say(`${object.en} costs ${number.en} yuan`, `${object.zh}${number.zh}元`)
}

// ---- Things

const thingIs: Template = random => {
  const { noun, adjective } = quality(random)
  const object = lexicon.ownable.has(noun) && random.int(3) === 0 ? owned(random, noun) : pointed(random, noun)
  if (random.int(5) === 0) return ask(words('is', object.en, adjective.en), `${object.zh}${adjective.zh}吗`)
  const form = degree(random, adjective)
  return say(words(object.en, 'is', form.en), `${object.zh}${form.zh}`)
}

const thingColour: Template = random => {
  const noun = random.pick(lexicon.coloured)
  const colour = random.pick(lexicon.colours)
  const object = random.int(2) === 0 ? owned(random, noun) : pointed(random, noun)
  if (random.int(4) === 0) return ask(words('is', object.en, colour.en), `${object.zh}是${colour.zh}的吗`)
  if (random.int(4) === 0) return say(words(object.en, not(random, 'is'), colour.en), `${object.zh}不是${colour.zh}的`)
  return say(words(object.en, 'is', colour.en), `${object.zh}是${colour.zh}的`)
}

const compare: Template = random => {
  const { noun, adjective } = quality(random)
  if (!lexicon.ownable.has(noun)) return compare(random)
  const one = `这${noun.measure}${noun.zh}`
  const other = `那${noun.measure}`
  switch (random.int(4)) {
    case 0:
      return say(`this ${noun.en} is much ${adjective.comparative} than that one`, `${one}比${other}${adjective.zh}得多`)
    case 1:
      return say(`this ${noun.en} is not as ${adjective.en} as that one`, `${one}没有${other}${adjective.zh}`)
    case 2: {
      const mine = owned(random, noun)
      return say(`${mine.en} is ${adjective.comparative} than this one`, `${mine.zh}比这${noun.measure}${adjective.zh}`)
    }
    default:
      return say(`this ${noun.en} is ${adjective.comparative} than that one`, `${one}比${other}${adjective.zh}`)
  }
}

const comparePeople: Template = random => {
  const s = random.pick(lexicon.subjects)
  // Who is compared is neither the same nor a pronoun that might be.
  const other = random.pick(lexicon.everyone.filter(each => each.pronoun.en !== s.pronoun.en && each.person !== 'plural'))
  const trait = random.pick(lexicon.traits)
  switch (random.int(4)) {
    case 0:
      return say(words(s.en, is(s), 'much', trait.comparative, 'than', other.object), `${s.zh}比${other.zh}${trait.zh}得多`)
    case 1:
      return say(words(s.en, is(s), 'not as', trait.en, 'as', other.object), `${s.zh}没有${other.zh}${trait.zh}`)
    case 2:
      return say(words(s.en, is(s), 'as', trait.en, 'as', other.object), `${s.zh}和${other.zh}一样${trait.zh}`)
    default:
      return say(words(s.en, is(s), trait.comparative, 'than', other.object), `${s.zh}比${other.zh}${trait.zh}`)
  }
}

const thereIs: Template = random => {
  const place = random.pick(lexicon.locations)
  const noun = random.pick(place.nouns)
  switch (random.int(4)) {
    case 0:
      return say(words('there are no', noun.plural, place.en), `${place.zh}没有${noun.zh}`)
    case 1:
      return ask(words('are there any', noun.plural, place.en), `${place.zh}有${noun.zh}吗`)
    case 2:
      return say(words('there is', article(noun.en), place.en), `${place.zh}有一${noun.measure}${noun.zh}`)
    default: {
      const things = several(random, noun)
      return say(words('there are', things.en, place.en), `${place.zh}有${things.zh}`)
    }
  }
}

const thingAt: Template = random => {
  const place = random.pick(lexicon.locations.slice(0, 10))
  const noun = random.pick(place.nouns)
  if (random.int(3) === 0) {
    const { en, zh } = owned(random, noun)
    return random.int(2) === 0
      ? ask(words('is', en, place.en), `${zh}在${place.zh}吗`)
      : say(words(en, not(random, 'is'), place.en), `${zh}不在${place.zh}`)
  }
  const { en, zh } = owned(random, noun)
  return say(words(en, 'is', place.en), `${zh}在${place.zh}`)
}

const possession: Template = random => {
  const noun = random.pick(lexicon.things)
  switch (random.int(4)) {
    case 0: {
      const s = random.pick(lexicon.asked)
      return ask(words(does(s), s.en, 'have', article(noun.en)), `${s.zh}有${noun.zh}吗`)
    }
    case 1: {
      const s = random.pick(lexicon.subjects)
      return say(words(s.en, not(random, does(s)), 'have', article(noun.en)), `${s.zh}没有${noun.zh}`)
    }
    default: {
      const s = random.pick(lexicon.subjects)
      const object = counted(random, noun)
      return say(words(s.en, has(s), object.en), `${s.zh}有${object.zh}`)
    }
  }
}

/** Things of a colour: two red cars. */
const colouredThings = (random: PhiloxStream): Phrase =>
  counted(random, random.pick(lexicon.coloured), random.pick(lexicon.colourAdjectives))

/** A thing one can have, with an adjective or a colour before it. */
function attributed(random: PhiloxStream): Phrase {
  if (random.int(2) === 0) return colouredThings(random)
  const { noun, adjective } = quality(random)
  return lexicon.ownable.has(noun) ? counted(random, noun, adjective) : attributed(random)
}

const hasAdjective: Template = random => {
  const s = random.pick(lexicon.subjects)
  switch (random.int(3)) {
    case 0: {
      const object = attributed(random)
      return say(words(s.en, third(s, 'want'), 'to buy', object.en), `${s.zh}想买${object.zh}`)
    }
    case 1: {
      const object = colouredThings(random)
      return timed(random, random.pick(lexicon.pastDay), s, words('saw', object.en), `看见了${object.zh}`)
    }
    default: {
      const object = attributed(random)
      return say(words(s.en, has(s), object.en), `${s.zh}有${object.zh}`)
    }
  }
}

const identity: Template = random => {
  const noun = random.pick(lexicon.things)
  const owner = random.pick(lexicon.owners).possessive
  switch (random.int(5)) {
    case 0:
      return say(`this is ${owner.en} ${noun.en}`, `这是${owner.zh}${noun.zh}`)
    case 1:
      return say(words('that', not(random, 'is'), owner.en, noun.en), `那不是${owner.zh}${noun.zh}`)
    case 2:
      return ask(`is this ${owner.en} ${noun.en}`, `这是${owner.zh}${noun.zh}吗`)
    case 3:
      return say(`these are ${owner.en} ${noun.plural}`, `这些是${owner.zh}${noun.zh}`)
    default: {
      const [en, zh] = random.int(2) === 0 ? ['this', '这'] : ['that', '那']
      return ask(`whose ${noun.en} is ${en}`, `${zh}是谁的${noun.zh}`)
    }
  }
}

// ---- People

const state: Template = random => {
  const feeling = random.pick(lexicon.states)
  if (random.int(4) === 0) {
    const s = random.pick(lexicon.asked)
    return ask(words(is(s), s.en, feeling.en), `${s.zh}${feeling.zh}吗`)
  }
  const s = random.pick(lexicon.subjects)
  if (random.int(2) === 0) {
    const time = random.pick(lexicon.pastDay)
    const form = random.pick([feeling, { en: `very ${feeling.en}`, zh: `非常${feeling.zh}` }])
    return say(words(s.en, was(s), form.en, time.en), `${s.zh}${time.zh}${form === feeling ? '很' : ''}${form.zh}`)
  }
  const form = degree(random, feeling)
  return say(words(s.en, is(s), form.en), `${s.zh}${form.zh}`)
}

const singular = lexicon.everyone.filter(s => s.person !== 'plural' || s === lexicon.you)
const job: Template = random => {
  const work = random.pick(lexicon.jobs)
  const s = random.pick(singular.filter(each => each !== lexicon.you))
  switch (random.int(4)) {
    case 0:
      return say(words(s.en, not(random, is(s)), work.en), `${s.zh}不是${work.zh}`)
    case 1:
      return say(words(s.en, third(s, 'want'), 'to be', work.en), `${s.zh}想当${work.zh}`)
    case 2: {
      const other = random.pick(singular.filter(each => each.person !== 'first'))
      return ask(words(is(other), other.en, work.en), `${other.zh}是${work.zh}吗`)
    }
    default:
      return say(words(s.en, is(s), work.en), `${s.zh}是${work.zh}`)
  }
}

const routine: Template = random => {
  const s = random.pick(lexicon.subjects)
  const what = random.pick(lexicon.routines)
  const hour = lexicon.hours[random.pick(lexicon.routineHours[what.zh] as readonly number[]) - 1] as Phrase
  const clock =
    random.int(3) === 0 ? { en: `at half past ${hour.en}`, zh: `${hour.zh}点半` } : { en: `at ${hour.en} o'clock`, zh: `${hour.zh}点` }
  switch (random.int(3)) {
    case 0: {
      const adverb = random.pick(lexicon.often.slice(0, 2))
      return say(words(s.en, adverb.en, present(s, what), clock.en), `${s.zh}${adverb.zh}${clock.zh}${what.zh}`)
    }
    case 1:
      return say(words(s.en, 'will', what.en, clock.en, 'tomorrow'), `${s.zh}明天${clock.zh}${what.zh}`)
    default:
      return say(words(s.en, present(s, what), clock.en, 'every day'), `${s.zh}每天${clock.zh}${what.zh}`)
  }
}

const duration: Template = random => {
  const s = random.pick(lexicon.subjects)
  const { verb, from, to } = random.pick(lexicon.durations)
  // The first number is two.
  const number = random.pick(lexicon.numbers.slice(from - 2, to - 1))
  const length = { en: `for ${number.en} hours`, zh: `${number.zh}个小时` }
  if (random.int(4) === 0) return say(words(s.en, present(s, verb), length.en, 'every day'), `${s.zh}每天${verb.zh}${length.zh}`)
  const time = random.pick(lexicon.pastDay)
  return timed(random, time, s, words(verb.past, length.en), `${verb.zh}了${length.zh}`)
}

const since: Template = random => {
  const s = random.pick(lexicon.subjects)
  const number = random.pick(lexicon.numbers)
  const unit = random.pick([
    { en: 'years', zh: '年' },
    { en: 'months', zh: '个月' },
  ])
  const length = { en: `for ${number.en} ${unit.en}`, zh: `${number.zh}${unit.zh}` }
  if (random.int(2) === 0) {
    const subject = random.pick(lexicon.subjectsOfStudy)
    return say(words(s.en, has(s), 'studied', subject.en, length.en), `${s.zh}学习了${length.zh}${subject.zh}`)
  }
  const city = random.pick(lexicon.cities)
  const [en, zh] = random.int(2) === 0 ? ['lived', '住'] : ['worked', '工作']
  return say(words(s.en, has(s), en as string, 'in', city.en, length.en), `${s.zh}在${city.zh}${zh}了${length.zh}`)
}

const gift: Template = random => {
  const giver = random.pick(lexicon.others)
  const receiver = random.pick(lexicon.receivers.filter(each => each.pronoun.en !== giver.pronoun.en && each.en !== giver.en))
  const object = counted(random, random.pick(lexicon.gifts), undefined, 2)
  switch (random.int(4)) {
    case 0:
      return say(words(giver.en, third(giver, 'want'), 'to give', receiver.object, object.en), `${giver.zh}想送${receiver.zh}${object.zh}`)
    case 1:
      return say(words(giver.en, 'will buy', receiver.object, object.en), `${giver.zh}会给${receiver.zh}买${object.zh}`)
    case 2:
      return timed(
        random,
        random.pick(lexicon.past),
        giver,
        words('bought', receiver.object, object.en),
        `给${receiver.zh}买了${object.zh}`,
      )
    default:
      return timed(random, random.pick(lexicon.past), giver, words('gave', receiver.object, object.en), `送了${receiver.zh}${object.zh}`)
  }
}

// ---- Going places

const transport: Template = random => {
  const s = random.pick(lexicon.subjects)
  const far = random.int(3) === 0
  const place: Phrase = random.pick<Phrase>(far ? lexicon.cities : lexicon.destinations)
  const vehicles = !far
    ? lexicon.townTransport
    : lexicon.nearCities.includes(place)
      ? lexicon.cityTransport
      : lexicon.cityTransport.slice(0, 1)
  const vehicle = random.pick(vehicles)
  const go = `${vehicle.zh}去`
  switch (random.int(4)) {
    case 0: {
      const time = random.pick(lexicon.future)
      return timed(random, time, s, words('will go to', place.en, vehicle.en), `会${go}${place.zh}`)
    }
    case 1:
      return timed(random, random.pick(lexicon.past), s, words('went to', place.en, vehicle.en), `${go}了${place.zh}`)
    case 2:
      return say(words(s.en, third(s, 'want'), 'to go to', place.en, vehicle.en), `${s.zh}想${go}${place.zh}`)
    default: {
      const adverb = random.pick(lexicon.often)
      return say(
        words(s.en, adverb.en, s.person === 'third' ? 'goes to' : 'go to', place.en, vehicle.en),
        `${s.zh}${adverb.zh}${go}${place.zh}`,
      )
    }
  }
}

const purpose: Template = random => {
  const s = random.pick(lexicon.subjects)
  const place = random.pick(lexicon.destinations)
  const what = random.pick(place.purposes)
  const tail = words('to', place.en, 'to', what.en)
  switch (random.int(5)) {
    case 0:
      return say(words(s.en, third(s, 'want'), 'to go', tail), `${s.zh}想去${place.zh}${what.zh}`)
    case 1: {
      const time = random.pick(lexicon.every)
      return say(words(s.en, s.person === 'third' ? 'goes' : 'go', tail, time.en), `${s.zh}${time.zh}去${place.zh}${what.zh}`)
    }
    case 2:
      return timed(random, random.pick(lexicon.past), s, words(not(random, 'did'), 'go', tail), `没有去${place.zh}${what.zh}`)
    case 3:
      return timed(random, random.pick(lexicon.past), s, words('went', tail), `去${place.zh}${what.zh}了`)
    default:
      return timed(random, random.pick(lexicon.future), s, words('will go', tail), `会去${place.zh}${what.zh}`)
  }
}

const together: Template = random => {
  const s = random.pick(lexicon.subjects)
  const friend = random.pick([
    { en: 'friends', zh: '朋友' },
    { en: 'classmates', zh: '同学' },
    { en: 'colleagues', zh: '同事' },
  ])
  if (random.int(2) === 0) {
    const activity = doing(random, lexicon.pastimes.slice(1))
    const adverb = random.pick(lexicon.often)
    return say(
      words(s.en, adverb.en, present(s, activity.action.verb), activity.object.en, 'with', friend.en),
      `${s.zh}${adverb.zh}和${friend.zh}一起${activity.zh}`,
    )
  }
  const place = random.pick(lexicon.destinations.slice(0, 8))
  return timed(
    random,
    random.pick(lexicon.future),
    s,
    words('will go to', place.en, 'with', friend.en),
    `会和${friend.zh}一起去${place.zh}`,
  )
}

const weatherReport: Template = random => {
  const city = random.pick(lexicon.cities)
  const kind = random.pick(lexicon.weather)
  switch (random.int(6)) {
    case 0: {
      const time = random.pick(lexicon.pastDay)
      const form = random.int(2) === 0 ? { en: kind.en, zh: `很${kind.zh}` } : { en: `very ${kind.en}`, zh: `非常${kind.zh}` }
      return say(words('it was', form.en, 'in', city.en, time.en), `${city.zh}${time.zh}${form.zh}`)
    }
    case 1: {
      const time = random.pick(lexicon.future)
      const rain = random.int(2) === 0 ? { en: 'rain', zh: '下雨' } : { en: 'snow', zh: '下雪' }
      return say(words('it will', rain.en, 'in', city.en, time.en), `${city.zh}${time.zh}会${rain.zh}`)
    }
    case 2: {
      const time = random.pick(lexicon.pastDay)
      const rain = random.int(2) === 0 ? { en: 'rained', zh: '下雨' } : { en: 'snowed', zh: '下雪' }
      return say(words('it', rain.en, 'in', city.en, time.en), `${city.zh}${time.zh}${rain.zh}了`)
    }
    case 3: {
      const other = random.pick(lexicon.cities.filter(each => each !== city))
      const comparative: Record<string, string> = { hot: 'hotter', cold: 'colder', warm: 'warmer', cool: 'cooler' }
      const much = random.int(2) === 0
      return say(
        words(city.en, 'is', much ? 'much' : '', comparative[kind.en] as string, 'than', other.en),
        `${city.zh}比${other.zh}${kind.zh}${much ? '得多' : ''}`,
      )
    }
    case 4: {
      const form = degree(random, kind)
      return say(words('it is', form.en, 'in', city.en, 'today'), `${city.zh}今天${form.zh}`)
    }
    default: {
      const time = random.pick(lexicon.future)
      return ask(words('will it', 'be', kind.en, 'in', city.en, time.en), `${city.zh}${time.zh}会${kind.zh}吗`)
    }
  }
}

// ---- Asking and proposing

/** What one proposes, and what can disturb others. */
const leisure = lexicon.pastimes.filter(({ verb }) => !['sleep', 'work', 'study'].includes(verb.en))

const request: Template = random => {
  switch (random.int(4)) {
    case 0: {
      const action = random.pick(lexicon.definite)
      const object = pointed(random, random.pick(action.nouns))
      return random.int(2) === 0
        ? say(words('please do not', action.verb.en, object.en), `请不要${action.verb.zh}${object.zh}`)
        : say(words('please', action.verb.en, object.en), `请${action.verb.zh}${object.zh}`)
    }
    case 1: {
      const { action, object, zh } = doing(random, [...leisure, lexicon.eating, lexicon.drinking])
      const place = random.pick(action.places)
      const please = random.int(2) === 0
      return say(
        words(please ? 'please do not' : 'do not', action.verb.en, object.en, place.en),
        `${please ? '请' : ''}不要${place.zh}${zh}`,
      )
    }
    case 2: {
      const { verb, object } = portion(random)
      return say(words('please', verb.en, object.en), `请${verb.zh}${object.zh}`)
    }
    default: {
      const receiver = random.pick(lexicon.receivers)
      const object = random.int(2) === 0 ? counted(random, random.pick(lexicon.gifts), undefined, 2) : drinkFor(random)
      return say(words('please give', receiver.object, object.en), `请给${receiver.zh}${object.zh}`)
    }
  }
}

function drinkFor(random: PhiloxStream): Phrase {
  const drink = random.pick(lexicon.drinks)
  return { en: `a ${lexicon.vessel(drink)} of ${drink.en}`, zh: `一杯${drink.zh}` }
}

const proposal: Template = random => {
  if (random.int(2) === 0) {
    const { action, object, zh } = doing(random, leisure)
    const place = random.pick(action.places)
    const time = perhaps(random, lexicon.futureDay, 2)
    return say(words("let's", action.verb.en, object.en, place.en, time.en), `我们${time.zh}${place.zh}${zh}吧`)
  }
  const place = random.pick(lexicon.destinations)
  const time = perhaps(random, lexicon.futureDay, 2)
  const what = random.pick(place.purposes)
  return say(words("let's go to", place.en, 'to', what.en, time.en), `我们${time.zh}去${place.zh}${what.zh}吧`)
}

// ---- Two clauses

const becauseState: Template = random => {
  const s = random.pick(lexicon.subjects)
  const { state: feeling, wishes } = random.pick(lexicon.wishes)
  const wish = random.pick(wishes)
  const very = random.int(2) === 0
  const en = words(very ? 'very' : '', feeling.en)
  const zh = `${very ? '非常' : '很'}${feeling.zh}`
  if (random.int(2) === 0) {
    return say(
      words('because', s.en, is(s), `${en},`, s.pronoun.en, third(s, 'want'), 'to', wish.en),
      `因为${s.zh}${zh}，所以${s.pronoun.zh}想${wish.zh}`,
    )
  }
  return say(
    words(s.en, third(s, 'want'), 'to', wish.en, 'because', s.pronoun.en, is(s), en),
    `${s.zh}想${wish.zh}，因为${s.pronoun.zh}${zh}`,
  )
}

const becauseWeather: Template = random => {
  const s = random.pick(lexicon.subjects)
  const good = random.int(2) === 0
  const cause = random.pick(
    good
      ? [
          { en: 'the weather is good', zh: '天气很好' },
          { en: 'it is very warm today', zh: '今天非常暖和' },
        ]
      : [
          { en: 'it is raining', zh: '下雨' },
          { en: 'it is very cold today', zh: '今天非常冷' },
          { en: 'it is snowing', zh: '下雪' },
        ],
  )
  const place = random.pick(lexicon.destinations.filter(each => !good || ['公园', '海边'].includes(each.zh)))
  const what = good ? random.pick(place.purposes) : nothing
  const wish = good
    ? { en: words(third(s, 'want'), 'to go to', place.en, 'to', what.en), zh: `想去${place.zh}${what.zh}` }
    : { en: words(not(random, does(s)), 'want to go to', place.en), zh: `不想去${place.zh}` }
  return say(words('because', `${cause.en},`, s.en, wish.en), `因为${cause.zh}，所以${s.zh}${wish.zh}`)
}

const although: Template = random => {
  const s = random.pick(lexicon.subjects)
  if (random.int(2) === 0) {
    const feeling = random.pick([...lexicon.states.slice(0, 2), ...lexicon.states.slice(3, 6)])
    const effort = random.pick(lexicon.efforts)
    return say(
      words('although', s.en, is(s), `${feeling.en},`, s.pronoun.en, is(s), 'still', effort.en),
      `虽然${s.zh}很${feeling.zh}，但是${s.pronoun.zh}还在${effort.zh}`,
    )
  }
  const { noun, adjective } = quality(random)
  if (!lexicon.complaints.has(adjective.en) || !lexicon.goods.includes(noun)) return although(random)
  const object = pointed(random, noun)
  const [en, zh] =
    random.int(2) === 0 ? [words(third(s, 'like'), 'it very much'), '很喜欢'] : [words('still', third(s, 'want'), 'to buy it'), '还是想买']
  return say(
    words('although', object.en, 'is', `${adjective.en},`, s.en, en as string),
    `虽然${object.zh}很${adjective.zh}，但是${s.zh}${zh}`,
  )
}

const ifRain: Template = random => {
  const s = random.pick(lexicon.subjects)
  const time = random.pick(lexicon.future.slice(0, 6))
  const rain = random.int(2) === 0 ? { en: 'rains', zh: '下雨' } : { en: 'snows', zh: '下雪' }
  if (random.int(2) === 0) {
    const place = random.pick(lexicon.destinations)
    return say(
      words('if it', rain.en, `${time.en},`, s.en, not(random, 'will'), 'go to', place.en),
      `如果${time.zh}${rain.zh}，${s.zh}就不去${place.zh}`,
    )
  }
  const { action, object, zh } = doing(
    random,
    lexicon.activities.filter(each => each.places.some(place => place.zh === '在家')),
  )
  return say(
    words('if it', rain.en, `${time.en},`, s.en, 'will', action.verb.en, object.en, 'at home'),
    `如果${time.zh}${rain.zh}，${s.zh}就在家${zh}`,
  )
}

const but: Template = random => {
  const s = random.pick(lexicon.subjects)
  const one = doing(random)
  const other = doing(random)
  if (one.zh === other.zh) return but(random)
  if (random.int(2) === 0) {
    return say(
      words(s.en, third(s, 'like'), 'to', one.en, 'but', not(random, does(s)), 'like to', other.en),
      `${s.zh}喜欢${one.zh}，但是不喜欢${other.zh}`,
    )
  }
  return say(words(s.en, third(s, 'like'), 'to', one.en, 'and', other.en), `${s.zh}喜欢${one.zh}和${other.zh}`)
}

const meanwhile: Template = random => {
  const one = random.pick(lexicon.subjects)
  const two = random.pick(lexicon.subjects.filter(each => each.pronoun.en !== one.pronoun.en))
  const clause = (s: Subject, action: Action) => {
    const object = singleObject(random, action)
    return { en: words(s.en, is(s), action.verb.gerund, object.en), zh: `${s.zh}在${action.verb.zh}${object.zh}` }
  }
  const action = random.pick(lexicon.activities)
  const first = clause(one, action)
  const second = clause(two, random.pick(lexicon.activities.filter(each => each !== action)))
  return say(`${first.en}, and ${second.en}`, `${first.zh}，${second.zh}`)
}

const beforeAfter: Template = random => {
  const s = random.pick(lexicon.subjects)
  const what = random.pick(lexicon.routines.slice(0, 5))
  const activity = doing(random, [...lexicon.pastimes.slice(1), lexicon.drinking])
  const adverb = random.pick(lexicon.often)
  // Nothing comes before getting up or after going to bed.
  const before = what.zh === '睡觉' || (what.zh !== '起床' && random.int(2) === 0)
  const order = before ? { en: 'before', zh: '以前' } : { en: 'after', zh: '以后' }
  return say(
    words(s.en, adverb.en, present(s, activity.action.verb), activity.object.en, order.en, what.gerund),
    `${s.zh}${adverb.zh}${what.zh}${order.zh}${activity.zh}`,
  )
}

/** All templates with how often each is used, by the number of different sentences that it can make. */
export const templates: readonly { readonly template: Template; readonly weight: number }[] = [
  { template: habit, weight: 8 },
  { template: habitNegative, weight: 4 },
  { template: progressive, weight: 8 },
  { template: done, weight: 9 },
  { template: doneThis, weight: 4 },
  { template: doneThere, weight: 4 },
  { template: notDone, weight: 5 },
  { template: already, weight: 3 },
  { template: experience, weight: 3 },
  { template: beenTo, weight: 1 },
  { template: willDo, weight: 7 },
  { template: plan, weight: 4 },
  { template: modal, weight: 9 },
  { template: skill, weight: 3 },
  { template: yesNo, weight: 6 },
  { template: didYou, weight: 3 },
  { template: whatQuestion, weight: 4 },
  { template: whoQuestion, weight: 3 },
  { template: whereQuestion, weight: 4 },
  { template: whenWhyHow, weight: 4 },
  { template: howMany, weight: 3 },
  { template: price, weight: 2 },
  { template: thingIs, weight: 5 },
  { template: thingColour, weight: 3 },
  { template: compare, weight: 3 },
  { template: comparePeople, weight: 3 },
  { template: thereIs, weight: 4 },
  { template: thingAt, weight: 3 },
  { template: possession, weight: 4 },
  { template: hasAdjective, weight: 5 },
  { template: identity, weight: 3 },
  { template: state, weight: 2 },
  { template: job, weight: 2 },
  { template: routine, weight: 4 },
  { template: duration, weight: 3 },
  { template: since, weight: 3 },
  { template: gift, weight: 5 },
  { template: transport, weight: 5 },
  { template: purpose, weight: 5 },
  { template: together, weight: 3 },
  { template: weatherReport, weight: 2 },
  { template: request, weight: 4 },
  { template: proposal, weight: 3 },
  { template: becauseState, weight: 4 },
  { template: becauseWeather, weight: 2 },
  { template: although, weight: 4 },
  { template: ifRain, weight: 4 },
  { template: but, weight: 5 },
  { template: meanwhile, weight: 4 },
  { template: beforeAfter, weight: 4 },
]
