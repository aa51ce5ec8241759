/** The words of the English–Chinese corpus: what goes with what is said here, how sentences are built in `englishChineseTemplates.ts`. */

/** `en` is a phrase as it stands in the middle of a sentence, `zh` its translation. */
export interface Phrase {
  readonly en: string
  readonly zh: string
}

export interface Subject extends Phrase {
  /** Agreement: first person, third person singular, or plural (and you). */
  readonly person: 'first' | 'third' | 'plural'
  /** As object: me, him, the teacher. */
  readonly object: string
  /** The pronoun that can stand for it in a second clause. */
  readonly pronoun: Phrase
  readonly possessive: Phrase
}

export interface Noun extends Phrase {
  readonly plural: string
  /** Measure word: 一本书. */
  readonly measure: string
}

export interface Verb extends Phrase {
  readonly third: string
  readonly past: string
  readonly participle: string
  readonly gerund: string
}

/** A verb and what it is done to and where. `mass` are objects without number: drink tea, play football. */
export interface Action {
  readonly verb: Verb
  readonly nouns: readonly Noun[]
  readonly mass: readonly Phrase[]
  readonly places: readonly Phrase[]
}

/** `attribute` is the form before a noun: 新, 漂亮的. `comparative` as in English: `cheaper`, `more expensive`. */
export interface Adjective extends Phrase {
  readonly attribute: string
  readonly comparative: string
}

const pairs = (text: string): Phrase[] =>
  text
    .trim()
    .split('\n')
    .map(line => {
      const [en, zh] = line.split('|').map(part => part.trim()) as [string, string]
      return { en, zh }
    })

function subject(
  en: string,
  zh: string,
  person: Subject['person'],
  object: string,
  pronoun: [string, string],
  possessive: [string, string],
): Subject {
  return { en, zh, person, object, pronoun: { en: pronoun[0], zh: pronoun[1] }, possessive: { en: possessive[0], zh: possessive[1] } }
}
const he = (en: string, zh: string): Subject => subject(en, zh, 'third', en, ['he', '他'], [`${en}'s`, `${zh}的`])
const she = (en: string, zh: string): Subject => subject(en, zh, 'third', en, ['she', '她'], [`${en}'s`, `${zh}的`])

export const you = subject('you', '你', 'plural', 'you', ['you', '你'], ['your', '你的'])
const i = subject('I', '我', 'first', 'me', ['I', '我'], ['my', '我的'])
/** Everyone but I and you, who do not fit every sentence. */
export const others: readonly Subject[] = [
  subject('he', '他', 'third', 'him', ['he', '他'], ['his', '他的']),
  subject('she', '她', 'third', 'her', ['she', '她'], ['her', '她的']),
  subject('they', '他们', 'plural', 'them', ['they', '他们'], ['their', '他们的']),
  he('my father', '我爸爸'),
  she('my mother', '我妈妈'),
  he('my younger brother', '我弟弟'),
  she('my older sister', '我姐姐'),
  he('Tom', '汤姆'),
  he('David', '大卫'),
  she('Mary', '玛丽'),
  she('Anna', '安娜'),
  subject('my parents', '我父母', 'plural', 'my parents', ['they', '他们'], ["my parents'", '我父母的']),
  subject('our neighbors', '我们邻居', 'plural', 'our neighbors', ['they', '他们'], ["our neighbors'", '我们邻居的']),
  he('her husband', '她丈夫'),
  she('his wife', '他妻子'),
]
const we = subject('we', '我们', 'plural', 'us', ['we', '我们'], ['our', '我们的'])
/** Who can be said to do something. */
export const subjects: readonly Subject[] = [i, we, ...others]
/** Who can be asked about. */
export const asked: readonly Subject[] = [you, you, you, ...others]
export const everyone: readonly Subject[] = [i, you, we, ...others]
/** Whose things are spoken of. */
export const owners: readonly Subject[] = [i, you, ...others.slice(0, 7), he('Tom', '汤姆'), she('Mary', '玛丽')]
/** Who gets something. */
export const receivers: readonly Subject[] = [i, we, ...others.slice(0, 2)]

const noun = (en: string, zh: string, measure: string, plural = `${en}s`): Noun => ({ en, zh, measure, plural })

const book = noun('book', '书', '本')
const novel = noun('novel', '小说', '本')
const magazine = noun('magazine', '杂志', '本')
const newspaper = noun('newspaper', '报纸', '份')
const dictionary = noun('dictionary', '词典', '本', 'dictionaries')
const letter = noun('letter', '信', '封')
const email = noun('email', '邮件', '封')
const article = noun('article', '文章', '篇')
const report = noun('report', '报告', '份')
const apple = noun('apple', '苹果', '个')
const banana = noun('banana', '香蕉', '根')
const orange = noun('orange', '橙子', '个')
const egg = noun('egg', '鸡蛋', '个')
const hamburger = noun('hamburger', '汉堡', '个')
const sandwich = noun('sandwich', '三明治', '个', 'sandwiches')
const shirt = noun('shirt', '衬衫', '件')
const coat = noun('coat', '外套', '件')
const sweater = noun('sweater', '毛衣', '件')
const skirt = noun('skirt', '裙子', '条')
const hat = noun('hat', '帽子', '顶')
const car = noun('car', '汽车', '辆')
const bicycle = noun('bicycle', '自行车', '辆')
const computer = noun('computer', '电脑', '台')
const camera = noun('camera', '相机', '台')
const phone = noun('phone', '手机', '部')
const watch = noun('watch', '手表', '块', 'watches')
const table = noun('table', '桌子', '张')
const chair = noun('chair', '椅子', '把')
const bed = noun('bed', '床', '张')
const map = noun('map', '地图', '张')
const ticket = noun('ticket', '票', '张')
const photo = noun('photo', '照片', '张')
const bag = noun('bag', '包', '个')
const cup = noun('cup', '杯子', '个')
const umbrella = noun('umbrella', '雨伞', '把')
const key = noun('key', '钥匙', '把')
const pencil = noun('pencil', '铅笔', '支')
const pen = noun('pen', '钢笔', '支')
const cat = noun('cat', '猫', '只')
const dog = noun('dog', '狗', '只')
const bird = noun('bird', '鸟', '只')
const rabbit = noun('rabbit', '兔子', '只')
const flower = noun('flower', '花', '朵')
const tree = noun('tree', '树', '棵')
const house = noun('house', '房子', '座')
const film = noun('film', '电影', '部')
const song = noun('song', '歌', '首')
const picture = noun('picture', '画', '幅')
const student = noun('student', '学生', '个')
const teacher = noun('teacher', '老师', '个')
const doctor = noun('doctor', '医生', '个')

const clothes = [shirt, coat, sweater, skirt, hat]
const fruit = [apple, banana, orange]
const food = [...fruit, egg, hamburger, sandwich]
const reading = [book, novel, magazine, newspaper]
const machines = [computer, camera, phone, watch, bicycle, car]
const small = [
  book,
  novel,
  magazine,
  dictionary,
  map,
  ticket,
  photo,
  cup,
  umbrella,
  key,
  pencil,
  pen,
  apple,
  banana,
  orange,
  egg,
  phone,
  camera,
  watch,
  letter,
]
const furniture = [table, chair, bed]
const animals = [cat, dog, bird, rabbit]
/** What one owns. */
export const things = [
  ...reading.slice(0, 3),
  dictionary,
  ...clothes,
  ...machines,
  bag,
  cup,
  umbrella,
  key,
  pencil,
  pen,
  chair,
  table,
  cat,
  dog,
  rabbit,
  photo,
  map,
]
export const goods = [book, novel, dictionary, ...clothes, ...machines, ...furniture, bag, cup, umbrella, map, pen, pencil]
export const gifts = [
  book,
  novel,
  dictionary,
  ...clothes,
  computer,
  camera,
  phone,
  watch,
  bicycle,
  bag,
  cup,
  pen,
  umbrella,
  cat,
  dog,
  rabbit,
  flower,
  picture,
]

const at = {
  home: { en: 'at home', zh: '在家' },
  kitchen: { en: 'in the kitchen', zh: '在厨房里' },
  livingRoom: { en: 'in the living room', zh: '在客厅里' },
  bedroom: { en: 'in the bedroom', zh: '在卧室里' },
  garden: { en: 'in the garden', zh: '在花园里' },
  park: { en: 'in the park', zh: '在公园里' },
  library: { en: 'in the library', zh: '在图书馆' },
  school: { en: 'at school', zh: '在学校' },
  office: { en: 'in the office', zh: '在办公室' },
  classroom: { en: 'in the classroom', zh: '在教室里' },
  restaurant: { en: 'in the restaurant', zh: '在饭馆' },
  supermarket: { en: 'in the supermarket', zh: '在超市' },
  market: { en: 'at the market', zh: '在市场' },
  shop: { en: 'in the shop', zh: '在商店' },
  hospital: { en: 'in the hospital', zh: '在医院' },
  station: { en: 'at the station', zh: '在车站' },
  river: { en: 'by the river', zh: '在河边' },
  beach: { en: 'at the beach', zh: '在海边' },
  bus: { en: 'on the bus', zh: '在公交车上' },
  train: { en: 'on the train', zh: '在火车上' },
  sea: { en: 'in the sea', zh: '在海里' },
}

const verb = (en: string, third: string, past: string, participle: string, gerund: string, zh: string): Verb => ({
  en,
  third,
  past,
  participle,
  gerund,
  zh,
})

export const eat = verb('eat', 'eats', 'ate', 'eaten', 'eating', '吃')
export const drink = verb('drink', 'drinks', 'drank', 'drunk', 'drinking', '喝')
export const read = verb('read', 'reads', 'read', 'read', 'reading', '看')
export const write = verb('write', 'writes', 'wrote', 'written', 'writing', '写')
export const buy = verb('buy', 'buys', 'bought', 'bought', 'buying', '买')
const look = verb('watch', 'watches', 'watched', 'watched', 'watching', '看')
const listen = verb('listen to', 'listens to', 'listened to', 'listened to', 'listening to', '听')
const sing = verb('sing', 'sings', 'sang', 'sung', 'singing', '唱')
const wash = verb('wash', 'washes', 'washed', 'washed', 'washing', '洗')
const draw = verb('draw', 'draws', 'drew', 'drawn', 'drawing', '画')
const repair = verb('repair', 'repairs', 'repaired', 'repaired', 'repairing', '修')
const sell = verb('sell', 'sells', 'sold', 'sold', 'selling', '卖')
const borrow = verb('borrow', 'borrows', 'borrowed', 'borrowed', 'borrowing', '借')
const study = verb('study', 'studies', 'studied', 'studied', 'studying', '学习')
const play = (zh: string): Verb => verb('play', 'plays', 'played', 'played', 'playing', zh)

export const drinks = pairs(`
  tea|茶
  coffee|咖啡
  milk|牛奶
  water|水
  juice|果汁`)
const meals = pairs(`
  rice|米饭
  bread|面包
  noodles|面条
  dumplings|饺子
  fish|鱼`)
export const subjectsOfStudy = pairs(`
  Chinese|中文
  English|英语
  math|数学
  history|历史`)
/** A drink by the vessel: a cup of tea, a glass of milk; 杯 either way. */
export const vessel = (drink: Phrase): string => (drink.en === 'tea' || drink.en === 'coffee' ? 'cup' : 'glass')

export const eating: Action = {
  verb: eat,
  nouns: food,
  mass: meals,
  places: [at.home, at.kitchen, at.restaurant, at.office, at.park, at.school],
}
export const drinking: Action = {
  verb: drink,
  nouns: [],
  mass: drinks,
  places: [at.home, at.kitchen, at.livingRoom, at.office, at.restaurant, at.garden],
}
const readings: Action = {
  verb: read,
  nouns: reading,
  mass: [],
  places: [at.home, at.bedroom, at.library, at.garden, at.park, at.bus, at.train, at.livingRoom],
}
const writing: Action = {
  verb: write,
  nouns: [letter, email, article, report],
  mass: [],
  places: [at.home, at.office, at.library, at.bedroom],
}
const drawing: Action = { verb: draw, nouns: [picture, map, flower, cat, bird], mass: [], places: [at.home, at.classroom, at.garden] }
/** Food is bought in numbers: buying eggs. */
export const buyingFood: Action = {
  verb: buy,
  nouns: [...fruit, egg, sandwich],
  mass: [...meals.slice(1), ...drinks.slice(0, 3)],
  places: [at.supermarket, at.market],
}
export const buyingGoods: Action = { verb: buy, nouns: goods.filter(item => item !== car && item !== bed), mass: [], places: [at.shop] }
const washing: Action = { verb: wash, nouns: [shirt, coat, sweater, skirt, cup, car], mass: [], places: [at.home] }
const repairing: Action = { verb: repair, nouns: [...machines, chair, table], mass: [], places: [at.home, at.shop] }

/** Actions with objects that can be counted. */
export const countable: readonly Action[] = [eating, readings, writing, drawing, buyingFood, buyingGoods, washing, repairing]
/** Actions whose object is in view as a whole: read this book, sell that car. */
export const definite: readonly Action[] = [
  readings,
  buyingGoods,
  washing,
  { verb: sell, nouns: [...machines, ...furniture, house], mass: [], places: [] },
  { verb: borrow, nouns: [book, novel, dictionary, bicycle, umbrella, camera], mass: [], places: [] },
]
/** Actions that make an experience: 看过, 吃过. */
export const experiences: readonly Action[] = [
  readings,
  { verb: verb('see', 'sees', 'saw', 'seen', 'seeing', '看'), nouns: [film, picture, photo], mass: [], places: [] },
  { verb: listen, nouns: [song], mass: [], places: [] },
  { verb: sing, nouns: [song], mass: [], places: [] },
]

const alone = (
  en: string,
  third: string,
  past: string,
  participle: string,
  gerund: string,
  zh: string,
  places: readonly Phrase[],
): Action => ({
  verb: verb(en, third, past, participle, gerund, zh),
  nouns: [],
  mass: [],
  places,
})

/** Things that people do, without an object that counts. */
export const pastimes: readonly Action[] = [
  alone('sleep', 'sleeps', 'slept', 'slept', 'sleeping', '睡觉', [at.home, at.bedroom, at.bus, at.train]),
  alone('run', 'runs', 'ran', 'run', 'running', '跑步', [at.park, at.river, at.beach, at.school]),
  alone('swim', 'swims', 'swam', 'swum', 'swimming', '游泳', [at.sea, at.school]),
  alone('work', 'works', 'worked', 'worked', 'working', '工作', [at.office, at.hospital, at.school, at.restaurant, at.home]),
  alone('rest', 'rests', 'rested', 'rested', 'resting', '休息', [at.home, at.garden, at.park, at.bedroom]),
  alone('dance', 'dances', 'danced', 'danced', 'dancing', '跳舞', [at.park, at.livingRoom, at.school]),
  alone('sing', 'sings', 'sang', 'sung', 'singing', '唱歌', [at.park, at.garden, at.home, at.classroom]),
  alone('cook', 'cooks', 'cooked', 'cooked', 'cooking', '做饭', [at.kitchen, at.home]),
  alone('take a walk', 'takes a walk', 'took a walk', 'taken a walk', 'taking a walk', '散步', [at.park, at.river, at.beach, at.garden]),
  { verb: study, nouns: [], mass: subjectsOfStudy, places: [at.library, at.home, at.school, at.classroom] },
  { verb: play('打'), nouns: [], mass: pairs('basketball|篮球\ntennis|网球'), places: [at.park, at.school] },
  { verb: play('踢'), nouns: [], mass: pairs('football|足球'), places: [at.park, at.school] },
  { verb: play('弹'), nouns: [], mass: pairs('the piano|钢琴\nthe guitar|吉他'), places: [at.home, at.livingRoom, at.school] },
  { verb: play('下'), nouns: [], mass: pairs('chess|棋'), places: [at.home, at.park] },
  { verb: look, nouns: [film], mass: pairs('television|电视'), places: [at.home, at.livingRoom, at.bedroom] },
  { verb: listen, nouns: [], mass: pairs('music|音乐\nthe radio|广播'), places: [at.home, at.bedroom, at.bus, at.train] },
]
/** What people do over and over, want to do, like to do. */
export const activities: readonly Action[] = [
  ...pastimes,
  ...pastimes,
  drinking,
  drinking,
  eating,
  eating,
  readings,
  readings,
  writing,
  buyingFood,
  buyingGoods,
]
/** What one can or cannot do because one has learnt it: 会. */
export const skills: readonly Phrase[] = pairs(`
  swim|游泳
  cook|做饭
  dance|跳舞
  drive|开车
  sing|唱歌
  draw|画画
  play the piano|弹钢琴
  play the guitar|弹吉他
  play chess|下棋
  play tennis|打网球
  play basketball|打篮球
  speak Chinese|说中文
  speak English|说英语
  speak French|说法语
  ride a bicycle|骑自行车
  repair cars|修汽车`)

export const often = pairs(`
  often|经常
  usually|通常
  sometimes|有时候
  always|总是`)
export const every = pairs(`
  every day|每天
  every morning|每天早上
  every afternoon|每天下午
  every evening|每天晚上
  every weekend|每个周末
  on Sundays|星期天`)
export const past = pairs(`
  yesterday|昨天
  yesterday morning|昨天早上
  yesterday afternoon|昨天下午
  last night|昨天晚上
  this morning|今天早上
  last Saturday|上周六
  last week|上周
  last month|上个月`)
/** Times for what is done on one day: ate, slept, was tired. */
export const pastDay = past.slice(0, 6)
export const future = pairs(`
  tomorrow|明天
  tomorrow morning|明天早上
  tomorrow afternoon|明天下午
  tomorrow evening|明天晚上
  tonight|今天晚上
  this weekend|这个周末
  next week|下周
  next month|下个月`)
export const futureDay = future.slice(0, 6)

export const numbers = pairs(`
  two|两
  three|三
  four|四
  five|五
  six|六
  seven|七
  eight|八
  nine|九
  ten|十`)
export const hours: readonly Phrase[] = pairs(`
  one|一
  two|两
  three|三
  four|四
  five|五
  six|六
  seven|七
  eight|八
  nine|九
  ten|十
  eleven|十一
  twelve|十二`)
/** What things cost, by kind. */
export const prices: readonly { readonly nouns: readonly Noun[]; readonly numbers: readonly Phrase[] }[] = [
  {
    nouns: [book, novel, magazine, dictionary, cup, umbrella, map, pen],
    numbers: pairs('ten|十\ntwenty|二十\nthirty|三十\nforty|四十\nfifty|五十\nsixty|六十\neighty|八十'),
  },
  { nouns: [...clothes, bag], numbers: pairs('fifty|五十\neighty|八十\none hundred|一百\ntwo hundred|两百\nthree hundred|三百') },
  { nouns: [...furniture, bicycle, watch], numbers: pairs('two hundred|两百\nthree hundred|三百\nfive hundred|五百\none thousand|一千') },
  { nouns: [computer, camera, phone], numbers: pairs('one thousand|一千\ntwo thousand|两千\nthree thousand|三千\nfive thousand|五千') },
]

const adjective = (en: string, zh: string, comparative: string, attribute = `${zh}的`): Adjective => ({ en, zh, comparative, attribute })
const big = adjective('big', '大', 'bigger', '大')
const little = adjective('small', '小', 'smaller', '小')
const fresh = adjective('new', '新', 'newer', '新')
const old = adjective('old', '旧', 'older', '旧')
const expensive = adjective('expensive', '贵', 'more expensive', '很贵的')
const cheap = adjective('cheap', '便宜', 'cheaper')
const beautiful = adjective('beautiful', '漂亮', 'more beautiful')
const interesting = adjective('interesting', '有趣', 'more interesting')
const boring = adjective('boring', '无聊', 'more boring')
const heavy = adjective('heavy', '重', 'heavier', '很重的')
const light = adjective('light', '轻', 'lighter', '很轻的')
const clean = adjective('clean', '干净', 'cleaner')
const dirty = adjective('dirty', '脏', 'dirtier', '脏')
const comfortable = adjective('comfortable', '舒服', 'more comfortable')
const cute = adjective('cute', '可爱', 'cuter')
const sweet = adjective('sweet', '甜', 'sweeter', '很甜的')
const colours = pairs(`
  red|红色
  black|黑色
  white|白色
  blue|蓝色
  green|绿色
  yellow|黄色`)

export { colours }
export const coloured = [...clothes, car, bicycle, bag, cup, umbrella, flower, pen, chair, phone]

/** Nouns with the adjectives that suit them. */
export const qualities: readonly { readonly nouns: readonly Noun[]; readonly adjectives: readonly Adjective[] }[] = [
  { nouns: [shirt, coat, sweater, skirt, hat], adjectives: [fresh, old, expensive, cheap, beautiful, clean, dirty, comfortable] },
  { nouns: [car, bicycle], adjectives: [fresh, old, expensive, cheap, beautiful, clean, dirty] },
  { nouns: [computer, camera, phone, watch], adjectives: [fresh, old, expensive, cheap, heavy, light, little] },
  { nouns: [book, novel, magazine, article, film], adjectives: [fresh, interesting, boring] },
  { nouns: [table, chair, bed], adjectives: [fresh, old, expensive, cheap, heavy, big, little] },
  { nouns: [chair, bed], adjectives: [comfortable] },
  { nouns: [bag, cup, umbrella], adjectives: [fresh, old, expensive, cheap, beautiful, big, little, light] },
  { nouns: [house], adjectives: [fresh, old, expensive, cheap, beautiful, big, little, clean] },
  { nouns: [cat, dog, rabbit, bird], adjectives: [big, little, cute, beautiful] },
  { nouns: [apple, orange, banana], adjectives: [big, little, sweet, cheap, expensive] },
  { nouns: [flower, picture, photo], adjectives: [beautiful] },
  { nouns: [tree], adjectives: [big, little] },
]
/** What can be somebody's. */
export const ownable: ReadonlySet<Noun> = new Set([...things, ...goods, ...gifts, ...animals, ...fruit, house])
/** Adjectives that one complains with: 有点儿. */
export const complaints: ReadonlySet<string> = new Set(['old', 'expensive', 'boring', 'heavy', 'dirty', 'small', 'big'])
/** Colours and other words before a noun. */
export const colourAdjectives: readonly Adjective[] = colours.map(({ en, zh }) => adjective(en, zh, en))

/** How people feel, for a while. */
export const states = pairs(`
  tired|累
  busy|忙
  happy|高兴
  hungry|饿
  thirsty|渴
  sad|难过
  angry|生气
  nervous|紧张`)
/** How people are. */
export const traits: readonly Adjective[] = [
  adjective('tall', '高', 'taller'),
  adjective('young', '年轻', 'younger'),
  adjective('smart', '聪明', 'smarter'),
  adjective('kind', '善良', 'kinder'),
  adjective('busy', '忙', 'busier'),
  adjective('strong', '强壮', 'stronger'),
]

export const jobs = pairs(`
  a teacher|老师
  a doctor|医生
  a nurse|护士
  a driver|司机
  a cook|厨师
  a lawyer|律师
  an engineer|工程师
  a student|学生
  a writer|作家
  a singer|歌手`)

/** Where one goes in town (the first eight for pleasure), with what one does there. */
export const destinations: readonly (Phrase & { readonly purposes: readonly Phrase[] })[] = [
  { en: 'the park', zh: '公园', purposes: pairs('run|跑步\ntake a walk|散步\nplay football|踢足球\ndance|跳舞\ntake photos|拍照片') },
  { en: 'the beach', zh: '海边', purposes: pairs('swim|游泳\ntake a walk|散步\ntake photos|拍照片') },
  { en: 'the cinema', zh: '电影院', purposes: pairs('watch a film|看电影') },
  { en: 'the library', zh: '图书馆', purposes: pairs('read books|看书\nborrow books|借书\nstudy Chinese|学习中文') },
  { en: 'the museum', zh: '博物馆', purposes: pairs('see pictures|看画') },
  { en: 'the restaurant', zh: '饭馆', purposes: pairs('eat noodles|吃面条\neat dumplings|吃饺子\ndrink tea|喝茶') },
  { en: 'the shop', zh: '商店', purposes: pairs('buy clothes|买衣服\nbuy a gift|买礼物\nbuy books|买书') },
  {
    en: 'the supermarket',
    zh: '超市',
    purposes: pairs('buy milk|买牛奶\nbuy bread|买面包\nbuy fruit|买水果\nbuy eggs|买鸡蛋\nbuy fish|买鱼'),
  },
  { en: 'the bank', zh: '银行', purposes: pairs('change money|换钱') },
  { en: 'the station', zh: '车站', purposes: pairs('buy tickets|买票') },
  { en: 'school', zh: '学校', purposes: pairs('study English|学习英语\nplay basketball|打篮球') },
  { en: 'the hospital', zh: '医院', purposes: pairs('see a doctor|看病') },
]
export const cities = pairs(`
  Beijing|北京
  Shanghai|上海
  Paris|巴黎
  London|伦敦
  New York|纽约
  Tokyo|东京`)
/** The first two are near enough for any vehicle. */
export const cityTransport = pairs(`
  by plane|坐飞机
  by train|坐火车
  by car|开车`)
export const nearCities = cities.slice(0, 2)
export const townTransport = pairs(`
  by bus|坐公交车
  by taxi|坐出租车
  by subway|坐地铁
  by car|开车
  by bicycle|骑自行车
  on foot|走路`)

/** Where things can be, with what can be there. */
export const locations: readonly (Phrase & { readonly nouns: readonly Noun[] })[] = [
  { en: 'on the table', zh: '桌子上', nouns: small },
  { en: 'on the chair', zh: '椅子上', nouns: [book, magazine, bag, hat, coat, shirt, cat, newspaper] },
  { en: 'on the bed', zh: '床上', nouns: [book, shirt, coat, skirt, sweater, cat, phone, bag] },
  { en: 'in the bag', zh: '包里', nouns: small },
  { en: 'in the room', zh: '房间里', nouns: [...furniture, computer, cat, dog, flower, picture] },
  { en: 'in the kitchen', zh: '厨房里', nouns: [table, chair, cup, cat, ...food.slice(0, 4)] },
  { en: 'in the garden', zh: '花园里', nouns: [...animals, flower, tree, chair, table] },
  { en: 'in the park', zh: '公园里', nouns: [...animals, flower, tree] },
  { en: 'under the tree', zh: '树下', nouns: [...animals, bicycle, chair] },
  { en: 'under the bed', zh: '床下', nouns: [cat, dog, rabbit, bag, pencil, key] },
  { en: 'in the classroom', zh: '教室里', nouns: [student, teacher, table, chair, computer, map] },
  { en: 'in the office', zh: '办公室里', nouns: [computer, table, chair, map, umbrella] },
  { en: 'in the hospital', zh: '医院里', nouns: [doctor, bed] },
]

/** What one does at a certain hour. */
export const routines: readonly Verb[] = [
  verb('get up', 'gets up', 'got up', 'got up', 'getting up', '起床'),
  verb('go to bed', 'goes to bed', 'went to bed', 'gone to bed', 'going to bed', '睡觉'),
  verb('have breakfast', 'has breakfast', 'had breakfast', 'had breakfast', 'having breakfast', '吃早饭'),
  verb('have lunch', 'has lunch', 'had lunch', 'had lunch', 'having lunch', '吃午饭'),
  verb('have dinner', 'has dinner', 'had dinner', 'had dinner', 'having dinner', '吃晚饭'),
  verb('go to work', 'goes to work', 'went to work', 'gone to work', 'going to work', '上班'),
  verb('leave home', 'leaves home', 'left home', 'left home', 'leaving home', '出门'),
  verb('go home', 'goes home', 'went home', 'gone home', 'going home', '回家'),
]
/** The hours at which a routine is likely, by the verb's Chinese. */
export const routineHours: Readonly<Record<string, readonly number[]>> = {
  起床: [5, 6, 7, 8],
  睡觉: [9, 10, 11, 12],
  吃早饭: [6, 7, 8, 9],
  吃午饭: [11, 12, 1],
  吃晚饭: [5, 6, 7, 8],
  上班: [7, 8, 9],
  出门: [6, 7, 8],
  回家: [4, 5, 6, 7, 8],
}

/** Verbs that can go on for a time, with how many hours are likely: 睡了八个小时. */
export const durations: readonly { readonly verb: Verb; readonly from: number; readonly to: number }[] = [
  { verb: verb('sleep', 'sleeps', 'slept', 'slept', 'sleeping', '睡'), from: 5, to: 10 },
  { verb: verb('work', 'works', 'worked', 'worked', 'working', '工作'), from: 2, to: 10 },
  { verb: verb('study', 'studies', 'studied', 'studied', 'studying', '学习'), from: 2, to: 8 },
  { verb: verb('wait', 'waits', 'waited', 'waited', 'waiting', '等'), from: 2, to: 5 },
  { verb: verb('rest', 'rests', 'rested', 'rested', 'resting', '休息'), from: 2, to: 5 },
  { verb: verb('run', 'runs', 'ran', 'run', 'running', '跑'), from: 2, to: 3 },
  { verb: verb('swim', 'swims', 'swam', 'swum', 'swimming', '游'), from: 2, to: 3 },
]

export const weather = pairs(`
  hot|热
  cold|冷
  warm|暖和
  cool|凉快`)

/** A state and what it makes one want. */
export const wishes: readonly { readonly state: Phrase; readonly wishes: readonly Phrase[] }[] = [
  { state: { en: 'tired', zh: '累' }, wishes: pairs('sleep|睡觉\nrest|休息\ngo home|回家\nlisten to music|听音乐\nstay at home|待在家里') },
  {
    state: { en: 'hungry', zh: '饿' },
    wishes: [...meals, { en: 'an apple', zh: '苹果' }, { en: 'a hamburger', zh: '汉堡' }, { en: 'a banana', zh: '香蕉' }].map(
      ({ en, zh }) => ({ en: `eat ${en}`, zh: `吃${zh}` }),
    ),
  },
  { state: { en: 'thirsty', zh: '渴' }, wishes: drinks.map(({ en, zh }) => ({ en: `drink ${en}`, zh: `喝${zh}` })) },
  { state: { en: 'sad', zh: '难过' }, wishes: pairs('go home|回家\nlisten to music|听音乐\ntake a walk|散步') },
  { state: { en: 'happy', zh: '高兴' }, wishes: pairs('sing|唱歌\ndance|跳舞\nbuy a gift|买礼物') },
]
/** What one does in spite of something: in progress. */
export const efforts = pairs(`
  working|工作
  studying Chinese|学习中文
  studying English|学习英语
  cooking|做饭
  running|跑步
  writing a report|写报告
  washing clothes|洗衣服
  playing football|踢足球
  reading a book|看书`)
